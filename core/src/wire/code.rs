//! The error codes and close codes of the contract, and what a client does about each.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// Why a request or frame was refused (PROTOCOL.md sections 2 and 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not to be understood: no JSON, no such form.
    BadRequest,
    /// No valid token.
    Unauthorized,
    /// The token was valid and is not any more.
    TokenExpired,
    /// A refresh token that had been exchanged already; its session has ended.
    TokenReused,
    /// Understood, and not allowed to this user or from this origin.
    Forbidden,
    /// No such thing.
    NotFound,
    /// No such method on this path.
    MethodNotAllowed,
    /// Contradicts what is: a taken name, a deleted message.
    Conflict,
    /// Longer than a body or frame may be.
    PayloadTooLarge,
    /// A body that is not JSON by its own word.
    UnsupportedMediaType,
    /// Well formed, with values that are not allowed.
    ValidationFailed,
    /// Too many; again after the time named.
    RateLimited,
    /// The server's own fault. Whether it was done is unknown.
    Internal,
    /// Not now. Whether it was done is unknown.
    Unavailable,
    /// The connection has not joined the room. Only in frames.
    NotJoined,
    /// The frame is no JSON object, or a field has another type than it should. Only in frames.
    BadFrame,
    /// A frame of a type that this server does not know. Only in frames.
    UnknownType,
}

impl ErrorCode {
    /// All of them, in the contract's order.
    pub const ALL: [ErrorCode; 17] = [
        ErrorCode::BadRequest,
        ErrorCode::Unauthorized,
        ErrorCode::TokenExpired,
        ErrorCode::TokenReused,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::MethodNotAllowed,
        ErrorCode::Conflict,
        ErrorCode::PayloadTooLarge,
        ErrorCode::UnsupportedMediaType,
        ErrorCode::ValidationFailed,
        ErrorCode::RateLimited,
        ErrorCode::Internal,
        ErrorCode::Unavailable,
        ErrorCode::NotJoined,
        ErrorCode::BadFrame,
        ErrorCode::UnknownType,
    ];

    /// The code as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::TokenExpired => "token_expired",
            ErrorCode::TokenReused => "token_reused",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::NotFound => "not_found",
            ErrorCode::MethodNotAllowed => "method_not_allowed",
            ErrorCode::Conflict => "conflict",
            ErrorCode::PayloadTooLarge => "payload_too_large",
            ErrorCode::UnsupportedMediaType => "unsupported_media_type",
            ErrorCode::ValidationFailed => "validation_failed",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::Internal => "internal",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::NotJoined => "not_joined",
            ErrorCode::BadFrame => "bad_frame",
            ErrorCode::UnknownType => "unknown_type",
        }
    }

    /// The HTTP status. The codes that only frames carry count as the client's mistake.
    pub const fn status(self) -> u16 {
        match self {
            ErrorCode::BadRequest | ErrorCode::NotJoined | ErrorCode::BadFrame | ErrorCode::UnknownType => {
                400
            }
            ErrorCode::Unauthorized | ErrorCode::TokenExpired | ErrorCode::TokenReused => 401,
            ErrorCode::Forbidden => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::Conflict => 409,
            ErrorCode::PayloadTooLarge => 413,
            ErrorCode::UnsupportedMediaType => 415,
            ErrorCode::ValidationFailed => 422,
            ErrorCode::RateLimited => 429,
            ErrorCode::Internal => 500,
            ErrorCode::Unavailable => 503,
        }
    }

    /// A sentence for people: the `title` of a problem, and the `message` of an error frame that has none of its own.
    pub const fn title(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "The request could not be understood",
            ErrorCode::Unauthorized => "No valid token",
            ErrorCode::TokenExpired => "The token has expired",
            ErrorCode::TokenReused => "The refresh token was used before; the session has ended",
            ErrorCode::Forbidden => "Not allowed",
            ErrorCode::NotFound => "Not found",
            ErrorCode::MethodNotAllowed => "This path does not have this method",
            ErrorCode::Conflict => "In conflict with what is there",
            ErrorCode::PayloadTooLarge => "Too large",
            ErrorCode::UnsupportedMediaType => "The body must be application/json",
            ErrorCode::ValidationFailed => "A value is not allowed",
            ErrorCode::RateLimited => "Too many requests",
            ErrorCode::Internal => "The server failed",
            ErrorCode::Unavailable => "Not available now",
            ErrorCode::NotJoined => "The room was not joined",
            ErrorCode::BadFrame => "The frame could not be understood",
            ErrorCode::UnknownType => "Unknown frame type",
        }
    }

    /// Whether it is certain that nothing was stored and nothing will be (PROTOCOL.md section 4, promise 6).
    /// After the others one sends again, with the same nonce.
    pub const fn is_final(self) -> bool {
        !matches!(self, ErrorCode::Internal | ErrorCode::Unavailable | ErrorCode::RateLimited)
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why the server closes a WebSocket (PROTOCOL.md section 3, the table of close codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: done. The client reconnects as it likes.
    Normal,
    /// 1001: one side goes away. The client reconnects as it likes.
    GoingAway,
    /// 1002: a violation of RFC 6455. The client has a bug and stays away.
    ProtocolError,
    /// 1003: a binary frame, which nobody here reads. The client has a bug and stays away.
    BinaryFrame,
    /// 1007: a text frame that is not UTF-8. The client has a bug and stays away.
    InvalidUtf8,
    /// 1009: a message beyond what is even skipped. The client reconnects after a delay.
    TooBig,
    /// 1012: the server restarts. The client reconnects after what `bye` told it.
    Restart,
    /// 1013: more than the server can take. The client reconnects after a delay.
    Overloaded,
    /// 4401: no valid token, expired and not renewed, or logged out. The client gets a new token first.
    Unauthorized,
    /// 4403: the one room of this connection is closed to the user. The client stays away.
    Forbidden,
    /// 4404: the one room of this connection is not there. The client stays away.
    NotFound,
    /// 4408: no answer to heartbeats. The client, if it still lives, reconnects after a delay.
    HeartbeatTimeout,
    /// 4413: too slow even for `gap`. The client reconnects after a delay, with `since`.
    TooSlow,
    /// 4429: too many refused frames. The client reconnects after a delay.
    RateLimited,
}

/// Whether and when a client connects again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// As it likes.
    Optional,
    /// It would only happen again.
    No,
    /// After a random delay between 0 and min(30 s, 0.5 s · 2ⁿ).
    Delayed,
    /// After `reconnect_in_ms` of the `bye` frame.
    AfterBye,
    /// With a new access token.
    WithNewToken,
}

impl CloseCode {
    /// All of them, in the contract's order.
    pub const ALL: [CloseCode; 14] = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::ProtocolError,
        CloseCode::BinaryFrame,
        CloseCode::InvalidUtf8,
        CloseCode::TooBig,
        CloseCode::Restart,
        CloseCode::Overloaded,
        CloseCode::Unauthorized,
        CloseCode::Forbidden,
        CloseCode::NotFound,
        CloseCode::HeartbeatTimeout,
        CloseCode::TooSlow,
        CloseCode::RateLimited,
    ];

    /// The number in the close frame.
    pub const fn code(self) -> u16 {
        match self {
            CloseCode::Normal => 1000,
            CloseCode::GoingAway => 1001,
            CloseCode::ProtocolError => 1002,
            CloseCode::BinaryFrame => 1003,
            CloseCode::InvalidUtf8 => 1007,
            CloseCode::TooBig => 1009,
            CloseCode::Restart => 1012,
            CloseCode::Overloaded => 1013,
            CloseCode::Unauthorized => 4401,
            CloseCode::Forbidden => 4403,
            CloseCode::NotFound => 4404,
            CloseCode::HeartbeatTimeout => 4408,
            CloseCode::TooSlow => 4413,
            CloseCode::RateLimited => 4429,
        }
    }

    /// The reason in the close frame: the error code, or a word where no error code says it.
    pub const fn reason(self) -> &'static str {
        match self {
            CloseCode::Normal | CloseCode::GoingAway => "",
            CloseCode::ProtocolError | CloseCode::BinaryFrame | CloseCode::InvalidUtf8 => "bad_frame",
            CloseCode::TooBig => "payload_too_large",
            CloseCode::Restart => "restart",
            CloseCode::Overloaded => "unavailable",
            CloseCode::Unauthorized => "unauthorized",
            CloseCode::Forbidden => "forbidden",
            CloseCode::NotFound => "not_found",
            CloseCode::HeartbeatTimeout => "heartbeat_timeout",
            CloseCode::TooSlow => "too_slow",
            CloseCode::RateLimited => "rate_limited",
        }
    }

    /// What the client does next.
    pub const fn reconnect(self) -> Reconnect {
        match self {
            CloseCode::Normal | CloseCode::GoingAway => Reconnect::Optional,
            CloseCode::ProtocolError
            | CloseCode::BinaryFrame
            | CloseCode::InvalidUtf8
            | CloseCode::Forbidden
            | CloseCode::NotFound => Reconnect::No,
            CloseCode::TooBig
            | CloseCode::Overloaded
            | CloseCode::HeartbeatTimeout
            | CloseCode::TooSlow
            | CloseCode::RateLimited => Reconnect::Delayed,
            CloseCode::Restart => Reconnect::AfterBye,
            CloseCode::Unauthorized => Reconnect::WithNewToken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_error_code_has_its_own_name_and_a_fitting_status() {
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!((400..=503).contains(&code.status()));
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
            // What may have been done is the server's doing, or was put off.
            assert_eq!(code.is_final(), code.status() < 500 && code.status() != 429, "{code:?}");
        }
    }

    #[test]
    fn close_codes_are_those_that_may_be_sent() {
        let codes: HashSet<_> = CloseCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(codes.len(), CloseCode::ALL.len());
        for code in CloseCode::ALL {
            // RFC 6455 section 7.4: 1004 to 1006 and 1015 are never sent; 4000 to 4999 are private.
            assert!(matches!(code.code(), 1000..=1003 | 1007..=1013 | 4400..=4499));
            assert!(code.reason().len() <= 123, "the most that a control frame holds");
        }
    }
}
