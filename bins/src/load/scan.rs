//! Reading server frames: a quick look that is enough for a message, and a whole reading for all else.

use serde_json::Value;

/// A message frame's room and seq, if it is written in the contract's order of fields, as ours are.
pub(super) fn message(text: &[u8]) -> Option<(u64, u64)> {
    let rest = text.strip_prefix(b"{\"type\":\"message\",\"room_id\":")?;
    let (room, rest) = number(rest)?;
    let (seq, _) = number(rest.strip_prefix(b",\"seq\":")?)?;
    Some((room, seq))
}

/// Any frame.
pub(super) fn frame(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or(Value::Null)
}

/// What to call a frame when it was not expected.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().take(300).collect()
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    Some((digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use chatroom_core::event::{Event, EventKind, User};
    use chatroom_core::id::{RoomId, Seq, UserId};
    use chatroom_core::text::{Content, Username};
    use chatroom_core::time::Timestamp;

    #[test]
    fn the_servers_messages_are_recognised() {
        let user = Arc::new(User { id: UserId::new(3).unwrap(), name: Username::stored("eve".to_owned()) });
        let content = Some(Content::parse("hi").unwrap());
        let event = Event {
            room: RoomId::new(17).unwrap(),
            seq: Seq::ZERO.plus(4711),
            user,
            at: Timestamp::from_ms(0),
            kind: EventKind::Message { content, nonce: None },
        };
        let text = chatroom_core::wire::server::event(&event);
        assert_eq!(message(&text), Some((17, 4711)));
        assert_eq!(frame(&text)["content"], "hi");
    }

    #[test]
    fn anything_else_is_no_message() {
        for text in [
            "",
            "{}",
            r#"{"type":"message","room_id":,"seq":1}"#,
            r#"{"type":"ack","room_id":1,"seq":1}"#,
            r#"{"type":"message","room_id":1,"seq":1"#,
        ] {
            assert_eq!(message(text.as_bytes()), None, "{text}");
        }
    }
}
