//! `Recent`: the newest events of a room, encoded, for whoever joins with `since`, comes back or was slow.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Event, EventKind};
use crate::frame::Frame;
use crate::id::Seq;

/// Consecutive events up to the room's head, bounded by count and by bytes.
#[derive(Debug)]
pub struct Recent {
    kept: VecDeque<Kept>,
    bytes: usize,
    head: Seq,
}

#[derive(Debug)]
struct Kept {
    frame: Arc<Frame>,
    /// The event without its content: to encode it anew when its message is deleted.
    outline: Event,
}

impl Recent {
    /// Nothing kept, standing behind the event `head`.
    pub fn new(head: Seq) -> Recent {
        Recent { kept: VecDeque::new(), bytes: 0, head }
    }

    /// Bytes of JSON kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Append the event that follows the head. A deletion takes the content out of what is kept: the log shows it no more.
    pub fn push(&mut self, event: &Event, frame: Arc<Frame>, encode: impl Fn(&Event) -> Arc<Frame>) {
        assert!(event.seq == self.head.next(), "recent events: {} pushed behind {}", event.seq, self.head);
        if let EventKind::Delete { of } = event.kind {
            self.redact(of, encode);
        }
        self.head = event.seq;
        self.bytes += frame.json.len();
        self.kept.push_back(Kept { frame, outline: outline(event) });
    }

    /// Let the oldest go until at most these many events and bytes are kept.
    pub fn trim(&mut self, events_max: usize, bytes_max: usize) {
        while self.kept.len() > events_max || self.bytes > bytes_max {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.frame.json.len();
        }
    }

    /// Whether all events behind `after` are kept.
    pub fn covers(&self, after: Seq) -> bool {
        after.plus(self.kept.len() as u64) >= self.head
    }

    /// The first events behind `after`, as many as the bounds allow (one at least, if there is one). `None`: not kept.
    pub fn after(&self, after: Seq, frames_max: usize, bytes_max: usize) -> Option<Vec<Arc<Frame>>> {
        if !self.covers(after) {
            return None;
        }
        let missing = usize::try_from(self.head.since(after)).ok()?;
        let frames = self.kept.range(self.kept.len() - missing..).map(|kept| &kept.frame);
        Some(within(frames, frames_max, bytes_max))
    }

    fn redact(&mut self, of: Seq, encode: impl Fn(&Event) -> Arc<Frame>) {
        // The message and its edits, all behind the message.
        let Ok(back) = usize::try_from(self.head.since(of).saturating_add(1)) else { return };
        let from = self.kept.len().saturating_sub(back);
        for kept in self.kept.range_mut(from..) {
            let concerned = match kept.outline.kind {
                EventKind::Message { .. } => kept.outline.seq == of,
                EventKind::Edit { of: edited, .. } => edited == of,
                EventKind::Delete { .. } => false,
            };
            if concerned {
                self.bytes -= kept.frame.json.len();
                kept.frame = encode(&kept.outline);
                self.bytes += kept.frame.json.len();
            }
        }
    }
}

fn outline(event: &Event) -> Event {
    let kind = match &event.kind {
        EventKind::Message { nonce, .. } => EventKind::Message { content: None, nonce: nonce.clone() },
        EventKind::Edit { of, .. } => EventKind::Edit { of: *of, content: None },
        EventKind::Delete { of } => EventKind::Delete { of: *of },
    };
    Event { room: event.room, seq: event.seq, user: Arc::clone(&event.user), at: event.at, kind }
}

/// The first frames, within bounds of count and bytes; one at least.
pub(super) fn within<'a>(
    frames: impl Iterator<Item = &'a Arc<Frame>>,
    frames_max: usize,
    bytes_max: usize,
) -> Vec<Arc<Frame>> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for frame in frames.take(frames_max.max(1)) {
        bytes += frame.json.len();
        if bytes > bytes_max && !page.is_empty() {
            break;
        }
        page.push(Arc::clone(frame));
    }
    page
}
