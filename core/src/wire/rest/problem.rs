//! `Problem`: how a request is refused (RFC 9457).

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::text::TextError;
use crate::wire::ErrorCode;

/// The body of every answer that is an error, `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem<'a> {
    /// Where the code is explained: a place on the server's own page of the contract.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words; the same for each.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// For programs.
    code: ErrorCode,
    /// What was the matter this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    detail: Option<Cow<'a, str>>,
    /// With `validation_failed`: each field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// That of `X-Request-Id`, to find the request in logs.
    request_id: &'a str,
}

impl<'a> Problem<'a> {
    /// The problem of this code. `errors` go with `validation_failed`.
    pub fn new(
        code: ErrorCode,
        detail: Option<Cow<'a, str>>,
        errors: Vec<FieldError>,
        request_id: &'a str,
    ) -> Problem<'a> {
        let kind = format!("/docs#{}", code.as_str());
        Problem { kind, title: code.title(), status: code.status(), code, detail, errors, request_id }
    }

    /// Appends the JSON text.
    pub fn encode(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("writing JSON into memory does not fail");
    }
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Its name, in the body or the query.
    #[schema(value_type = String)]
    pub field: Cow<'static, str>,
    /// For programs: `required`, `wrong_type`, `too_short`, `too_long`, `blank`, `bad_character`, `mixed_scripts`,
    /// `common`, `out_of_range`, `conflict` or `invalid`.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// For people.
    #[schema(value_type = String)]
    pub message: Cow<'static, str>,
}

impl FieldError {
    /// An error of a field.
    pub fn new(field: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> FieldError {
        FieldError { field: field.into(), code: code.into(), message: message.into() }
    }

    /// A text that was refused.
    pub fn text(field: &'static str, error: TextError) -> FieldError {
        Self::new(field, error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_looks_as_in_the_contract() {
        let errors = vec![FieldError::text("username", TextError::TooShort { min: 3 })];
        let problem = Problem::new(ErrorCode::ValidationFailed, None, errors, "r-1");
        let mut out = Vec::new();
        problem.encode(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"type":"/docs#validation_failed","title":"A value is not allowed","status":422,"code":"validation_failed","errors":[{"field":"username","code":"too_short","message":"must have at least 3 characters"}],"request_id":"r-1"}"#
        );
        let problem = Problem::new(ErrorCode::NotFound, Some("There is no such room.".into()), vec![], "r-2");
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"type":"/docs#not_found","title":"Not found","status":404,"code":"not_found","detail":"There is no such room.","request_id":"r-2"}"#
        );
    }
}
