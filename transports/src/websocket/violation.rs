//! What a client can do wrong inside a WebSocket, and the code that closes for it. Each is final for the connection.

use tungstenite::protocol::frame::coding::CloseCode;

/// A breach that ends the connection. The text is for logs; [`Violation::close_code`] goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set: RSV2, RSV3, or RSV1 where no compressed message begins (RFC 6455 5.2, RFC 7692 6).
    #[error("a reserved bit is set")]
    ReservedBit,
    /// Opcodes 3–7 and 11–15 (RFC 6455 5.2).
    #[error("a reserved opcode")]
    ReservedOpcode,
    /// Clients must mask (RFC 6455 5.1).
    #[error("an unmasked frame")]
    Unmasked,
    /// A length that would have fitted a shorter form (RFC 6455 5.2: the minimal number of bytes must be used).
    #[error("a length in a longer form than needed")]
    LengthNotMinimal,
    /// A 64-bit length with the highest bit set (RFC 6455 5.2).
    #[error("a length beyond 63 bits")]
    LengthInvalid,
    /// A control frame without FIN (RFC 6455 5.5).
    #[error("a fragmented control frame")]
    FragmentedControl,
    /// A control frame of more than 125 bytes (RFC 6455 5.5).
    #[error("a control frame of more than 125 bytes")]
    ControlTooLong,
    /// A continuation where no message has begun (RFC 6455 5.4).
    #[error("a continuation of nothing")]
    NothingToContinue,
    /// A new message inside a fragmented one (RFC 6455 5.4).
    #[error("a message inside a fragmented message")]
    MessageInsideMessage,
    /// A close frame with one byte of payload (RFC 6455 5.5.1).
    #[error("a close frame with half a code")]
    CloseTruncated,
    /// A close code that must not be sent (RFC 6455 7.4).
    #[error("a close code that must not be sent")]
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (RFC 6455 5.5.1).
    #[error("a close reason that is not UTF-8")]
    CloseReasonInvalid,
    /// A text message that is not, and cannot become, UTF-8 (RFC 6455 8.1).
    #[error("a text message that is not UTF-8")]
    TextInvalid,
    /// A compressed message that does not inflate. 1007 and not 1002: the frames are in order, it is the data within the
    /// message that does not agree with its type (RFC 6455 7.4.1).
    #[error("a compressed message that does not inflate")]
    DeflateInvalid,
    /// A binary message where only text is spoken.
    #[error("a binary message")]
    BinaryRefused,
    /// A message beyond [`Limits::skip_bytes_max`](super::Limits::skip_bytes_max).
    #[error("a message beyond every limit")]
    TooLong,
}

impl Violation {
    /// The code of the close frame that answers it.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBit
            | Self::ReservedOpcode
            | Self::Unmasked
            | Self::LengthNotMinimal
            | Self::LengthInvalid
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::NothingToContinue
            | Self::MessageInsideMessage
            | Self::CloseTruncated
            | Self::CloseCodeInvalid => CloseCode::Protocol,
            Self::BinaryRefused => CloseCode::Unsupported,
            Self::CloseReasonInvalid | Self::TextInvalid | Self::DeflateInvalid => CloseCode::Invalid,
            Self::TooLong => CloseCode::Size,
        }
    }
}
