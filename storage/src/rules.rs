//! What every store decides in the same way: who may edit and delete, what a refresh token gets, when a quota is spent,
//! where a page ends.
//!
//! Pure functions over what a store has read inside its transaction. Called by the stores only.

use chatroom_core::event::{Event, EventKind, Message};
use chatroom_core::id::{Seq, UserId};
use chatroom_core::store::{Change, REFRESH_GRACE_MS, REFRESH_LIFE_MS, Refusal};
use chatroom_core::time::Timestamp;

/// The message that an edit or a deletion names, as it stands inside the transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) author: UserId,
    /// Its first deletion.
    pub(crate) deleted: Option<Seq>,
}

/// What is to become of an append whose room exists and whose nonce is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Store,
    Duplicate(Seq),
    Refuse(Refusal),
}

/// Whether `by` may do this. `target` is the message that the change names, if there is one; `creator` made the room.
pub(crate) fn decide(change: &Change, by: UserId, creator: UserId, target: Option<Target>) -> Decision {
    match (change, target) {
        (Change::Message { .. }, _) => Decision::Store,
        (Change::Edit { .. } | Change::Delete { .. }, None) => Decision::Refuse(Refusal::NoSuchMessage),
        (Change::Edit { .. }, Some(target)) if target.author != by => Decision::Refuse(Refusal::NotAllowed),
        (Change::Edit { .. }, Some(Target { deleted: Some(_), .. })) => Decision::Refuse(Refusal::Deleted),
        (Change::Edit { .. }, Some(_)) => Decision::Store,
        (Change::Delete { .. }, Some(target)) if target.author != by && creator != by => {
            Decision::Refuse(Refusal::NotAllowed)
        }
        (Change::Delete { .. }, Some(Target { deleted: Some(first), .. })) => Decision::Duplicate(first),
        (Change::Delete { .. }, Some(_)) => Decision::Store,
    }
}

/// What a session's row says about its refresh tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenState {
    /// The number of the current token.
    pub(crate) counter: u64,
    /// When the current token was given out.
    pub(crate) rotated_at: Timestamp,
}

/// What a genuine token with a number gets from a session that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenDecision {
    Next(u64),
    Again(u64),
    Reused,
    Dead,
}

/// The rules of [`chatroom_core::store::Refreshed`].
pub(crate) fn decide_refresh(state: TokenState, presented: u64, at: Timestamp) -> TokenDecision {
    let TokenState { counter, rotated_at } = state;
    if !is_fresh(rotated_at, at) || presented > counter {
        TokenDecision::Dead
    } else if presented == counter {
        TokenDecision::Next(counter.saturating_add(1))
    } else if presented.saturating_add(1) == counter
        && at.ms() <= rotated_at.ms().saturating_add(REFRESH_GRACE_MS)
    {
        TokenDecision::Again(counter)
    } else {
        TokenDecision::Reused
    }
}

/// Whether a refresh token given out at `rotated_at` still lives.
pub(crate) fn is_fresh(rotated_at: Timestamp, at: Timestamp) -> bool {
    rotated_at > stale_before(at)
}

/// Tokens given out at this time or before are dead. At the very beginning of time none are.
pub(crate) fn stale_before(at: Timestamp) -> Timestamp {
    Timestamp::from_ms(at.ms().saturating_sub(REFRESH_LIFE_MS))
}

/// Rooms created after this time count towards a user's quota.
pub(crate) fn quota_since(at: Timestamp) -> Timestamp {
    Timestamp::from_ms(at.ms().saturating_sub(QUOTA_WINDOW_MS))
}

/// The seconds until the room that fills the quota leaves the window; `blocking` is when it was created, or `None` when
/// the quota is zero.
pub(crate) fn quota_retry_after_s(blocking: Option<Timestamp>, at: Timestamp) -> u32 {
    let until_ms = blocking.unwrap_or(at).ms().saturating_add(QUOTA_WINDOW_MS);
    let seconds = until_ms.saturating_sub(at.ms()).div_ceil(1000).max(1);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

const QUOTA_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;

/// The number of a session's first refresh token.
pub(crate) const FIRST_TOKEN: u64 = 1;

/// How long an ended session is kept, so that every node sees its end.
pub(crate) const ENDED_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// How many living sessions are listed.
pub(crate) const SESSIONS_MAX: usize = 1000;

/// Fills a page up to its limits, one item after the other.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// An item was turned away: there is more.
    pub(crate) more: bool,
    limit: usize,
    bytes_left: usize,
    /// The first item is taken whatever its size.
    keeps_first: bool,
}

impl<T> Page<T> {
    pub(crate) fn new(limit: u32, bytes_max: u32) -> Page<T> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let bytes_left = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Page { items: Vec::new(), more: false, limit, bytes_left, keeps_first: true }
    }

    /// The same, but even its first item may be too large for it.
    pub(crate) fn strict(limit: u32, bytes_max: u32) -> Page<T> {
        Page { keeps_first: false, ..Page::new(limit, bytes_max) }
    }

    /// Takes an item whose content has this many bytes. `false`: it was turned away, and so would be all that follow.
    pub(crate) fn take(&mut self, item: T, bytes: usize) -> bool {
        let fits = bytes <= self.bytes_left || (self.keeps_first && self.items.is_empty());
        if self.more || self.items.len() >= self.limit || !fits {
            self.more = true;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.items.push(item);
        true
    }

    /// The bytes that are left of the limit.
    pub(crate) fn bytes_left(&self) -> u32 {
        u32::try_from(self.bytes_left).unwrap_or(u32::MAX)
    }

    /// The number of items.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.items.len()).unwrap_or(u32::MAX)
    }
}

/// What an event counts for the size of a page.
pub(crate) fn event_bytes(event: &Event) -> usize {
    match &event.kind {
        EventKind::Message { content, .. } | EventKind::Edit { content, .. } => {
            content.as_ref().map_or(0, |content| content.as_str().len())
        }
        EventKind::Delete { .. } => 0,
    }
}

/// What a message counts for the size of a page.
pub(crate) fn message_bytes(message: &Message) -> usize {
    message.content.as_ref().map_or(0, |content| content.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    #[test]
    fn a_refresh_token_gets_what_its_number_and_age_allow() {
        let state = TokenState { counter: 5, rotated_at: Timestamp::from_ms(100 * DAY_MS) };
        for (presented, after_ms, expected) in [
            (5, 0, TokenDecision::Next(6)),
            (5, 30 * DAY_MS - 1, TokenDecision::Next(6)),
            (5, 30 * DAY_MS, TokenDecision::Dead),
            (4, 0, TokenDecision::Again(5)),
            (4, 30_000, TokenDecision::Again(5)),
            (4, 30_001, TokenDecision::Reused),
            (3, 0, TokenDecision::Reused),
            (0, 0, TokenDecision::Reused),
            (6, 0, TokenDecision::Dead),
            (u64::MAX, 0, TokenDecision::Dead),
            (3, 31 * DAY_MS, TokenDecision::Dead),
        ] {
            let at = Timestamp::from_ms(100 * DAY_MS + after_ms);
            assert_eq!(decide_refresh(state, presented, at), expected, "{presented} after {after_ms} ms");
        }
    }

    #[test]
    fn a_page_ends_at_either_limit_but_keeps_one() {
        let mut page = Page::new(10, 5);
        assert!(page.take('a', 9));
        assert!(!page.take('b', 1));
        assert!(!page.take('c', 0), "behind an item that was turned away nothing is taken");
        assert_eq!((page.items, page.more), (vec!['a'], true));

        let mut page = Page::new(2, 5);
        assert!(page.take('a', 2) && page.take('b', 3));
        assert!(!page.more);
        assert!(!page.take('c', 0) && page.more);

        let mut page = Page::strict(2, 5);
        assert!(!page.take('a', 6) && page.more && page.items.is_empty());
    }

    #[test]
    fn the_quota_frees_itself_when_the_oldest_room_is_a_day_old() {
        let at = Timestamp::from_ms(10 * DAY_MS);
        assert_eq!(quota_retry_after_s(None, at), 86_400);
        assert_eq!(quota_retry_after_s(Some(Timestamp::from_ms(9 * DAY_MS + 1)), at), 1);
        assert_eq!(quota_retry_after_s(Some(Timestamp::from_ms(9 * DAY_MS + 1001)), at), 2);
        assert_eq!(quota_retry_after_s(Some(Timestamp::from_ms(9 * DAY_MS)), at), 1);
    }
}
