//! `Doc`: what the OpenAPI document says of an endpoint beyond what its route and its types tell.
//!
//! Each row of the route table has one, so there is no endpoint without. Schemas are named by the types themselves.

use std::borrow::Cow;

use utoipa::ToSchema;

use crate::wire::ErrorCode;

/// One endpoint, described.
#[derive(Debug)]
pub(crate) struct Doc {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Name>,
    pub(super) answers: &'static [Success],
    pub(super) errors: &'static [ErrorCode],
}

/// The name of a schema under `components/schemas`.
pub(super) type Name = fn() -> Cow<'static, str>;

/// What may stand in the query or a header.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) value: ParameterValue,
    pub(super) about: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Query,
    Header,
}

#[derive(Debug)]
pub(super) enum ParameterValue {
    Text,
    Seq,
    Room,
    /// How many items a page has, 50 unless it is said.
    Limit {
        max: u32,
    },
    /// `0` or `1`.
    Flag,
}

/// An answer that is no problem.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: &'static [Content],
    pub(super) headers: &'static [AnswerHeader],
}

#[derive(Debug)]
pub(super) enum Content {
    Json(Name),
    /// JSON that is no schema of the wire: the documents.
    AnyJson,
    Text(&'static str),
    EventStream,
    Bytes,
}

/// A header that some answers have besides those that all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerHeader {
    SetCookie,
    Location,
    ETag,
    RetryAfter,
}

impl Doc {
    pub(super) const fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Doc {
        Doc { id, tag, summary, about: "", parameters: &[], body: None, answers: &[], errors: &[] }
    }

    pub(super) const fn about(mut self, about: &'static str) -> Doc {
        self.about = about;
        self
    }

    pub(super) const fn parameters(mut self, parameters: &'static [Parameter]) -> Doc {
        self.parameters = parameters;
        self
    }

    pub(super) const fn body<T: ToSchema>(mut self) -> Doc {
        self.body = Some(T::name);
        self
    }

    pub(super) const fn answers(mut self, answers: &'static [Success]) -> Doc {
        self.answers = answers;
        self
    }

    /// The codes that do not already follow from what the endpoint takes.
    pub(super) const fn errors(mut self, errors: &'static [ErrorCode]) -> Doc {
        self.errors = errors;
        self
    }
}

impl Success {
    pub(super) const fn new(status: u16, about: &'static str, content: &'static [Content]) -> Success {
        Success { status, about, content, headers: &[] }
    }

    pub(super) const fn headers(mut self, headers: &'static [AnswerHeader]) -> Success {
        self.headers = headers;
        self
    }
}

impl Parameter {
    pub(super) const fn query(name: &'static str, value: ParameterValue, about: &'static str) -> Parameter {
        Parameter { name, place: Place::Query, value, about }
    }

    pub(super) const fn header(name: &'static str, value: ParameterValue, about: &'static str) -> Parameter {
        Parameter { name, place: Place::Header, value, about }
    }
}
