//! The client's side of WebSocket framing, as little of it as a load generator needs: whole masked text frames out, whole
//! unmasked frames in. It asks for no extension and meets a server that never fragments, and says so when it does not.

/// One frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    Close {
        code: Option<u16>,
    },
    /// What this client cannot take: a fragment, a mask, an extension bit, binary data.
    Strange(u8),
}

/// The frame at the front of the input and its length, or `None` while it is incomplete.
pub(super) fn next(input: &[u8]) -> Option<(Incoming<'_>, usize)> {
    let (&[first, second], rest) = input.split_first_chunk::<2>()?;
    let (length, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*length), rest)
        }
        short => (u64::from(short), rest),
    };
    if first & 0xf0 != FINAL || second & MASKED != 0 {
        return Some((Incoming::Strange(first), input.len()));
    }
    let length = usize::try_from(length).ok()?;
    let payload = rest.get(..length)?;
    let used = input.len() - rest.len() + length;
    let frame = match first & 0x0f {
        TEXT => Incoming::Text(payload),
        PING => Incoming::Ping(payload),
        PONG => Incoming::Pong,
        CLOSE => Incoming::Close { code: payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code)) },
        _ => Incoming::Strange(first),
    };
    Some((frame, used))
}

/// Append a text frame.
pub(super) fn append_text(out: &mut Vec<u8>, text: &[u8]) {
    append(out, TEXT, text);
}

/// Append the answer to a ping.
pub(super) fn append_pong(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, PONG, payload);
}

/// Append a close frame with code 1000.
pub(super) fn append_close(out: &mut Vec<u8>) {
    append(out, CLOSE, &1000_u16.to_be_bytes());
}

fn append(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(FINAL | opcode);
    match payload.len() {
        length @ 0..126 => out.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
/// Nothing between this client and the server could be misled by its bytes, so one mask does for all (RFC 6455 10.3).
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[cfg(test)]
mod tests {
    use super::*;
    use chatroom_transports::deflate::Inflater;
    use chatroom_transports::websocket::{Decoder, Event, Limits, text_frame};

    #[test]
    fn the_servers_frames_are_read_as_soon_as_they_are_whole() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(length);
            let bytes = text_frame(&text);
            assert_eq!(next(&bytes), Some((Incoming::Text(text.as_bytes()), bytes.len())));
            assert_eq!(next(&bytes[..bytes.len() - 1]), None, "{length}");
        }
    }

    #[test]
    fn the_servers_decoder_reads_our_frames() {
        let limits = Limits { frame_bytes_max: 1 << 20, skip_bytes_max: 1 << 20, binary: false };
        for length in [0, 3, 125, 126, 65_535, 65_536] {
            let text = "ä".repeat(length / 2);
            let mut bytes = Vec::new();
            append_text(&mut bytes, text.as_bytes());
            let whole = bytes.len();
            let (mut decoder, mut inflater) = (Decoder::new(false), Inflater::new());
            let decoded = decoder.decode(&mut bytes, &limits, &mut inflater).unwrap();
            assert_eq!(decoded.used, whole);
            assert_eq!(decoded.event, Some(Event::Text(text.into())));
        }
    }

    #[test]
    fn what_this_client_did_not_ask_for_is_strange() {
        for bytes in [[0x01, 0x00], [0xc1, 0x00], [0x82, 0x00], [0x81, 0x80]] {
            assert!(matches!(next(&bytes), Some((Incoming::Strange(_), 2))), "{bytes:?}");
        }
    }
}
