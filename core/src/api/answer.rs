//! `Answer`: what goes back to the client, with the headers that every answer has.
//!
//! An endpoint makes a `Reply` or is `Refused`; the `Context` of its request turns either into an `Answer`. A refusal is
//! a problem of RFC 9457 (PROTOCOL.md section 2, Errors).

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::Request;
use crate::id::SessionId;
use crate::node::Node;
use crate::wire::{BodyError, ErrorCode, FieldError, Problem};

/// A header of an answer. Values are visible ASCII.
pub type Header = (&'static str, Cow<'static, str>);

/// A whole answer. The transport adds `Date`, `Content-Length` and `Connection`, and leaves the body out after HEAD.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// `None`: there is no body.
    pub content_type: Option<&'static str>,
    pub headers: Vec<Header>,
    pub body: Bytes,
    /// Sessions that this request ended. Their tokens are refused on this node already; the reactor tells the others
    /// to close their connections.
    pub ended: Vec<SessionId>,
    /// The pattern of the path, such as `/api/v1/rooms/{id}`, for logs and metrics; empty when there is none.
    pub route: &'static str,
    /// Why the request was refused, if it was.
    pub code: Option<ErrorCode>,
}

/// What every answer to one request has in common.
#[derive(Debug)]
pub(super) struct Context {
    request_id: Box<str>,
    route: &'static str,
    /// The page that asked, when it is one of those that may read the answer.
    origin: Option<Box<str>>,
}

/// What an endpoint answers.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Bytes,
    pub(super) headers: Vec<Header>,
    pub(super) ended: Vec<SessionId>,
}

/// Why a request is not done.
#[derive(Clone, Debug)]
pub struct Refused {
    pub code: ErrorCode,
    pub detail: Option<Cow<'static, str>>,
    pub errors: Vec<FieldError>,
    pub headers: Vec<Header>,
    pub ended: Vec<SessionId>,
}

impl Context {
    pub(super) fn new(request: &Request<'_>, node: &Node, route: &'static str) -> Context {
        Context {
            request_id: request.request_id.into(),
            route,
            origin: request.origin.filter(|origin| node.origins.allows(Some(*origin))).map(Into::into),
        }
    }

    /// An answer to what could not even be read.
    pub(super) fn bare(request_id: &str) -> Context {
        Context { request_id: request_id.into(), route: "", origin: None }
    }

    pub(super) fn answer(&self, result: Result<Reply, Refused>) -> Box<Answer> {
        let (reply, code) = match result {
            Ok(reply) => (reply, None),
            Err(refused) => {
                let code = refused.code;
                (refused.into_reply(&self.request_id), Some(code))
            }
        };
        let mut headers = reply.headers;
        self.add_headers(&mut headers);
        Box::new(Answer {
            status: reply.status,
            content_type: reply.content_type,
            headers,
            body: reply.body,
            ended: reply.ended,
            route: self.route,
            code,
        })
    }

    /// An answer with any status of HTTP. Where the contract has a code for it, that is used; else it is a line of text.
    pub(super) fn answer_status(&self, status: u16, why: &str) -> Box<Answer> {
        match ErrorCode::ALL.into_iter().find(|code| code.status() == status) {
            Some(code) if why.is_empty() => self.answer(Err(Refused::of(code))),
            Some(code) => self.answer(Err(Refused::of(code).because(why.to_owned()))),
            None => {
                let why = if why.is_empty() { "The request was not understood." } else { why };
                self.answer(Ok(Reply { status, ..Reply::text(format!("{status}: {why}\n")) }))
            }
        }
    }

    /// Adds the headers that every answer to this request has.
    pub(super) fn add_headers(&self, headers: &mut Vec<Header>) {
        headers.push(("X-Request-Id", self.request_id.to_string().into()));
        headers.push(("X-Content-Type-Options", "nosniff".into()));
        if !headers.iter().any(|(name, _)| *name == "Cache-Control") {
            headers.push(("Cache-Control", "no-store".into()));
        }
        headers.push(("Vary", "Origin".into()));
        if let Some(origin) = &self.origin {
            headers.push(("Access-Control-Allow-Origin", origin.to_string().into()));
            headers.push(("Access-Control-Allow-Credentials", "true".into()));
            headers.push(("Access-Control-Expose-Headers", EXPOSED_HEADERS.into()));
        }
    }
}

/// What a page of another origin may read besides the few headers that it may anyway.
const EXPOSED_HEADERS: &str = "Allow, ETag, Location, Retry-After, WWW-Authenticate, X-Request-Id";

impl Reply {
    pub(super) fn json(status: u16, body: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(body).expect("our own types with text keys always become JSON");
        Reply { status, content_type: Some(JSON), body: body.into(), ..Reply::default() }
    }

    pub(super) fn text(body: impl Into<Bytes>) -> Reply {
        Reply {
            status: 200,
            content_type: Some("text/plain; charset=utf-8"),
            body: body.into(),
            ..Reply::default()
        }
    }

    pub(super) fn no_content() -> Reply {
        Reply { status: 204, ..Reply::default() }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn with_ended(mut self, ended: Vec<SessionId>) -> Reply {
        self.ended = ended;
        self
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Refused {
        match error {
            BodyError::Malformed(why) => Refused::new(ErrorCode::BadRequest).because(why),
            BodyError::Invalid(errors) => Refused::invalid(errors),
        }
    }
}

impl Refused {
    pub fn new(code: ErrorCode) -> Refused {
        Refused { code, detail: None, errors: Vec::new(), headers: Vec::new(), ended: Vec::new() }
    }

    /// With the headers that go with the code.
    pub(super) fn of(code: ErrorCode) -> Refused {
        match code {
            ErrorCode::Unauthorized => Refused::unauthorized(),
            ErrorCode::TokenExpired | ErrorCode::TokenReused => Refused::bad_token(code),
            ErrorCode::RateLimited => Refused::limited(UNAVAILABLE_RETRY_MS),
            ErrorCode::Unavailable => Refused::unavailable(),
            ErrorCode::MethodNotAllowed => Refused::new(code).with_header("Allow", "GET, HEAD, OPTIONS"),
            ErrorCode::BadRequest
            | ErrorCode::Forbidden
            | ErrorCode::NotFound
            | ErrorCode::Conflict
            | ErrorCode::PayloadTooLarge
            | ErrorCode::UnsupportedMediaType
            | ErrorCode::ValidationFailed
            | ErrorCode::Internal
            | ErrorCode::NotJoined
            | ErrorCode::BadFrame
            | ErrorCode::UnknownType => Refused::new(code),
        }
    }

    /// With a sentence for whoever reads the answer.
    #[must_use]
    pub fn because(mut self, detail: impl Into<Cow<'static, str>>) -> Refused {
        self.detail = Some(detail.into());
        self
    }

    /// Values that are not allowed, each with its field.
    pub fn invalid(errors: Vec<FieldError>) -> Refused {
        Refused { errors, ..Refused::new(ErrorCode::ValidationFailed) }
    }

    /// A request without credentials where some are needed, or with a wrong name and password.
    pub fn unauthorized() -> Refused {
        Refused::new(ErrorCode::Unauthorized).with_header("WWW-Authenticate", r#"Bearer realm="chatroom""#)
    }

    /// A token that is not accepted (RFC 6750 section 3.1).
    pub fn bad_token(code: ErrorCode) -> Refused {
        let challenge = if code == ErrorCode::TokenExpired {
            r#"Bearer realm="chatroom", error="invalid_token", error_description="expired""#
        } else {
            r#"Bearer realm="chatroom", error="invalid_token""#
        };
        Refused::new(code).with_header("WWW-Authenticate", challenge)
    }

    /// Too many; again after so many milliseconds.
    pub fn limited(retry_after_ms: u64) -> Refused {
        Refused::new(ErrorCode::RateLimited).with_retry_after(retry_after_ms)
    }

    /// Contradicts what is there already.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Refused {
        Refused::new(ErrorCode::Conflict).because(detail)
    }

    /// Not now: a store that is away, a mailbox that is full. Whether it was done is unknown.
    pub fn unavailable() -> Refused {
        Refused::new(ErrorCode::Unavailable).with_retry_after(UNAVAILABLE_RETRY_MS)
    }

    #[must_use]
    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Refused {
        self.headers.push((name, value.into()));
        self
    }

    #[must_use]
    pub(super) fn with_ended(mut self, ended: Vec<SessionId>) -> Refused {
        self.ended = ended;
        self
    }

    fn with_retry_after(self, retry_after_ms: u64) -> Refused {
        // Whole seconds, and never "at once".
        let seconds = retry_after_ms.div_ceil(1000).max(1);
        self.with_header("Retry-After", seconds.to_string())
    }

    fn into_reply(self, request_id: &str) -> Reply {
        let problem = Problem::new(self.code, self.detail, self.errors, request_id);
        Reply {
            content_type: Some(PROBLEM),
            headers: self.headers,
            ended: self.ended,
            ..Reply::json(self.code.status(), &problem)
        }
    }
}

/// When to come back to a server that cannot now: an outage lasts longer than a crowded moment, and clients add their
/// own random delay.
const UNAVAILABLE_RETRY_MS: u64 = 2000;

pub(super) const JSON: &str = "application/json";
pub(super) const PROBLEM: &str = "application/problem+json";
