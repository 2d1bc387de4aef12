//! `Lane`: the one writer of its share of the room logs: group commit, and retry when a commit is in doubt.
//!
//! A step takes what waits, up to a limit, and commits the appends among it as one transaction; while that runs the next
//! batch gathers in the mailbox, so the busier, the larger the batch. Answers go to the reactors, committed events to the
//! room workers. The lane blocks only inside its `Store`.

use crate::event::{Event, EventKind};
use crate::id::{RoomId, Seq, UserId};
use crate::mail::{CallAnswer, Caller, Effect, LaneMail, ReactorMail, Ticket, WorkerMail};
use crate::store::{Append, Change, Command, Found, Outcome, Query, Store, StoreError, Written};
use crate::text::Nonce;
use crate::time::Now;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Bounds of one batch, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct LaneLimits {
    pub batch_events_max: usize,
    /// Bytes of content.
    pub batch_bytes_max: usize,
    /// Mails kept while a commit is in doubt; the mailbox holds what comes beyond.
    pub queue_max: usize,
}

pub struct Lane<S> {
    store: S,
    limits: LaneLimits,
    /// Taken from the mailbox and not yet begun.
    queue: VecDeque<LaneMail>,
    doubt: Option<Doubt>,
}

/// A batch whose commit was sent and whose answer was lost. Nothing else is begun until it is known.
struct Doubt {
    batch: Vec<Item>,
    retry_ms: u64,
    backoff_ms: u64,
}

struct Item {
    from: Caller,
    ticket: Ticket,
    append: Append,
    deadline_ms: u64,
    /// Answered `unavailable` past its deadline: what becomes of it is told to nobody but the room.
    answered: bool,
}

/// Changes that are not events are single transactions: so few in a step that the appends behind them do not wait long.
const WRITES_A_STEP: usize = 8;
const BACKOFF_MIN_MS: u64 = 20;
const BACKOFF_MAX_MS: u64 = 500;
/// Events read back at once after a commit in doubt, and in all for a room: an old nonce repeated in the same batch may lie
/// far back in the log, and what is farther than this the workers find as a hole.
const RECALL_PAGE: u32 = 200;
const RECALL_MAX: usize = 2000;

impl<S: Store> Lane<S> {
    pub fn new(store: S, limits: LaneLimits) -> Lane<S> {
        Lane { store, limits, queue: VecDeque::new(), doubt: None }
    }

    /// Mails that may be handed in with [`Lane::push`] before the next step.
    pub fn room(&self) -> usize {
        let max = if self.doubt.is_some() { self.limits.queue_max } else { self.limits.batch_events_max };
        max.saturating_sub(self.queue.len())
    }

    /// Take one mail out of the mailbox. It is begun with the next step.
    pub fn push(&mut self, mail: LaneMail) {
        self.queue.push_back(mail);
    }

    /// When to step although no mail came (`mono_ms`): to ask after a commit in doubt, or for a deadline.
    pub fn next_timeout(&self) -> Option<u64> {
        let doubt = self.doubt.as_ref()?;
        let deadlines = doubt.batch.iter().filter(|item| !item.answered).map(|item| item.deadline_ms);
        let queued = self.queue.iter().filter_map(deadline);
        deadlines.chain(queued).chain([doubt.retry_ms]).min()
    }

    /// Nothing waits and nothing is in doubt.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.doubt.is_none()
    }

    /// The store, for its driver.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Commit what waits.
    pub fn step(&mut self, now: Now, out: &mut Vec<Effect>) {
        if let Some(doubt) = self.doubt.take() {
            self.ask_again(doubt, now, out);
            if self.doubt.is_some() {
                self.expire(now, out);
                return;
            }
        }
        let (mut batch, mut writes, mut loads) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        while batch.len() < self.limits.batch_events_max
            && bytes < self.limits.batch_bytes_max
            && writes.len() < WRITES_A_STEP
        {
            let Some(mail) = self.queue.pop_front() else { break };
            match mail {
                LaneMail::Append { from, ticket, append, deadline_ms } => {
                    let item = Item { from, ticket, append, deadline_ms, answered: false };
                    if deadline_ms <= now.mono_ms {
                        answer(&item, Err(late()), out);
                    } else {
                        bytes += content_bytes(&item.append);
                        batch.push(item);
                    }
                }
                LaneMail::Write { from, call, command, deadline_ms } => {
                    if deadline_ms <= now.mono_ms {
                        out.push(write_answer(from, call, Err(late())));
                    } else {
                        writes.push((from, call, command));
                    }
                }
                LaneMail::Load { room, limit, bytes_max } => loads.push((room, limit, bytes_max)),
            }
        }
        if !batch.is_empty() {
            self.commit(batch, BACKOFF_MIN_MS, now, out);
        }
        for (from, call, command) in writes {
            out.push(write_answer(from, call, self.write(&command, now)));
        }
        // Behind the batch: its events reach the worker before the head that holds them, later ones after it.
        for (room, limit, bytes_max) in loads {
            let head = match self.store.read(&Query::Head { room, limit, bytes_max }, now.timestamp()) {
                Ok(Found::Head(head)) => Ok(head),
                Ok(other) => unreachable!("a store answered Head with {other:?}"),
                Err(error) => Err(error),
            };
            out.push(Effect::Worker(room, WorkerMail::Loaded { room, head }));
        }
    }

    /// A command is decided by what is stored, so one in doubt is not sent again by itself: the caller asks again.
    fn write(&mut self, command: &Command, now: Now) -> Result<Written, StoreError> {
        self.store.write(command, now.timestamp())
    }

    fn ask_again(&mut self, mut doubt: Doubt, now: Now, out: &mut Vec<Effect>) {
        if now.mono_ms < doubt.retry_ms {
            expire_items(&mut doubt.batch, now, out);
            self.doubt = Some(doubt);
            return;
        }
        self.commit(doubt.batch, doubt.backoff_ms.saturating_mul(2).min(BACKOFF_MAX_MS), now, out);
    }

    /// Append a batch; `backoff_ms` above the minimum says that it is in doubt already.
    fn commit(&mut self, mut batch: Vec<Item>, backoff_ms: u64, now: Now, out: &mut Vec<Effect>) {
        let in_doubt = backoff_ms > BACKOFF_MIN_MS;
        let twins = fold_twins(&batch);
        let appends: Vec<Append> = batch
            .iter()
            .enumerate()
            .filter(|(i, _)| !twins.contains_key(i))
            .map(|(_, item)| item.append.clone())
            .collect();
        let at = now.timestamp();
        match self.store.append(&appends, at) {
            Ok(outcomes) => {
                assert!(
                    outcomes.len() == appends.len(),
                    "a store answered {} of {} appends",
                    outcomes.len(),
                    appends.len()
                );
                // What an attempt in doubt did store comes back as a duplicate, and the room has not heard of it yet.
                let recalled =
                    if in_doubt { self.recall(&appends, &outcomes, now) } else { Ok(BTreeMap::new()) };
                match recalled {
                    Ok(rooms) => settle(batch, outcomes, &twins, rooms, out),
                    Err(_) => self.keep_in_doubt(batch, backoff_ms, now, out),
                }
            }
            Err(StoreError::InDoubt(_)) => self.keep_in_doubt(batch, backoff_ms, now, out),
            Err(_) if in_doubt => self.keep_in_doubt(batch, backoff_ms, now, out),
            Err(error) => {
                for item in batch.drain(..) {
                    answer(&item, Err(error.clone()), out);
                }
            }
        }
    }

    fn keep_in_doubt(&mut self, mut batch: Vec<Item>, backoff_ms: u64, now: Now, out: &mut Vec<Effect>) {
        expire_items(&mut batch, now, out);
        let backoff_ms = backoff_ms.max(BACKOFF_MIN_MS + 1);
        self.doubt = Some(Doubt { batch, retry_ms: now.after_ms(backoff_ms), backoff_ms });
    }

    /// The events that a commit in doubt stored, by room: read back, since their workers were never told.
    fn recall(
        &mut self,
        appends: &[Append],
        outcomes: &[Outcome],
        now: Now,
    ) -> Result<BTreeMap<RoomId, Vec<Event>>, StoreError> {
        let mut spans: BTreeMap<RoomId, (Seq, Seq)> = BTreeMap::new();
        for (append, outcome) in appends.iter().zip(outcomes) {
            if let Outcome::Duplicate { seq } = *outcome {
                let span = spans.entry(append.room).or_insert((seq, seq));
                *span = (span.0.min(seq), span.1.max(seq));
            }
        }
        let mut rooms = BTreeMap::new();
        for (room, (first, last)) in spans {
            let mut after = first.previous();
            loop {
                let query = Query::Events {
                    room,
                    after,
                    before: Some(last.next()),
                    limit: RECALL_PAGE,
                    bytes_max: u32::MAX,
                };
                let found = self.store.read(&query, now.timestamp())?;
                let Found::Events(page) = found else {
                    unreachable!("a store answered Events with {found:?}")
                };
                let Some(page) = page else { break };
                let Some(newest) = page.events.last() else { break };
                after = newest.seq;
                let events: &mut Vec<Event> = rooms.entry(room).or_default();
                events.extend(page.events);
                if !page.has_more || events.len() > RECALL_MAX {
                    break;
                }
            }
        }
        Ok(rooms)
    }

    /// Answer what waits behind a commit in doubt and is late. A load has no deadline of its own: it waits for as long as
    /// somebody waits for that commit.
    fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        let given_up = self.doubt.as_ref().is_some_and(|doubt| doubt.batch.iter().all(|item| item.answered));
        self.queue.retain(|mail| {
            let is_late = deadline(mail).map_or(given_up, |deadline_ms| deadline_ms <= now.mono_ms);
            match mail {
                _ if !is_late => {}
                LaneMail::Append { from, ticket, .. } => {
                    out.push(append_answer(*from, ticket.clone(), Err(late())))
                }
                LaneMail::Write { from, call, .. } => out.push(write_answer(*from, *call, Err(late()))),
                LaneMail::Load { room, .. } => {
                    out.push(Effect::Worker(*room, WorkerMail::Loaded { room: *room, head: Err(late()) }))
                }
            }
            !is_late
        });
    }
}

/// Tell the outcomes to who asked, and the events to the room workers.
fn settle(
    batch: Vec<Item>,
    outcomes: Vec<Outcome>,
    twins: &HashMap<usize, usize>,
    mut rooms: BTreeMap<RoomId, Vec<Event>>,
    out: &mut Vec<Effect>,
) {
    let mut outcomes = outcomes.into_iter();
    let mut all: Vec<Outcome> = Vec::with_capacity(batch.len());
    let mut answers = Vec::with_capacity(batch.len());
    for (index, item) in batch.into_iter().enumerate() {
        let outcome = match twins.get(&index) {
            Some(&first) => match &all[first] {
                Outcome::Stored { seq, .. } | Outcome::Duplicate { seq } => Outcome::Duplicate { seq: *seq },
                Outcome::Refused(refusal) => Outcome::Refused(*refusal),
            },
            None => outcomes.next().expect("one outcome an append, counted above"),
        };
        answer(&item, Ok(outcome.clone()), &mut answers);
        if let Outcome::Stored { seq, at } = outcome {
            let Append { room, user, nonce, change, .. } = item.append;
            rooms.entry(room).or_default().push(Event { room, seq, user, at, kind: kind(change, nonce) });
        }
        all.push(outcome);
    }
    for (room, mut events) in rooms {
        events.sort_by_key(|event| event.seq);
        // What was stored just now may have been read back, too, between two that were stored before.
        events.dedup_by_key(|event| event.seq);
        out.push(Effect::Worker(room, WorkerMail::Committed { room, events }));
    }
    // Behind the events: whoever has an answer and joins with its seq finds a worker that knows of it.
    out.append(&mut answers);
}

fn kind(change: Change, nonce: Option<Nonce>) -> EventKind {
    match change {
        Change::Message { content } => EventKind::Message { content: Some(content), nonce },
        Change::Edit { of, content } => EventKind::Edit { of, content: Some(content) },
        Change::Delete { of } => EventKind::Delete { of },
    }
}

/// Items whose (room, user, nonce) an earlier item of the batch has too: their index → the earlier one's.
fn fold_twins(batch: &[Item]) -> HashMap<usize, usize> {
    let mut twins = HashMap::new();
    if batch.len() < 2 {
        return twins;
    }
    let mut first: HashMap<(RoomId, UserId, &Nonce), usize> = HashMap::new();
    for (index, item) in batch.iter().enumerate() {
        if let Some(nonce) = &item.append.nonce {
            match first.entry((item.append.room, item.append.user.id, nonce)) {
                std::collections::hash_map::Entry::Occupied(earlier) => {
                    twins.insert(index, *earlier.get());
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(index);
                }
            }
        }
    }
    twins
}

fn expire_items(batch: &mut [Item], now: Now, out: &mut Vec<Effect>) {
    for item in batch.iter_mut().filter(|item| !item.answered && item.deadline_ms <= now.mono_ms) {
        answer(item, Err(late()), out);
        item.answered = true;
    }
}

fn answer(item: &Item, outcome: Result<Outcome, StoreError>, out: &mut Vec<Effect>) {
    if !item.answered {
        out.push(append_answer(item.from, item.ticket.clone(), outcome));
    }
}

fn append_answer(from: Caller, ticket: Ticket, outcome: Result<Outcome, StoreError>) -> Effect {
    let mail = match ticket.call {
        Some(call) => ReactorMail::Answered { conn: from.conn, call, answer: CallAnswer::Appended(outcome) },
        None => ReactorMail::Appended { conn: from.conn, ticket, outcome },
    };
    Effect::Reactor(from.reactor, mail)
}

fn write_answer(from: Caller, call: u32, written: Result<Written, StoreError>) -> Effect {
    Effect::Reactor(
        from.reactor,
        ReactorMail::Answered { conn: from.conn, call, answer: CallAnswer::Written(written) },
    )
}

fn late() -> StoreError {
    StoreError::Unavailable("the request waited past its deadline".to_owned())
}

fn deadline(mail: &LaneMail) -> Option<u64> {
    match mail {
        LaneMail::Append { deadline_ms, .. } | LaneMail::Write { deadline_ms, .. } => Some(*deadline_ms),
        LaneMail::Load { .. } => None,
    }
}

fn content_bytes(append: &Append) -> usize {
    match &append.change {
        Change::Message { content } | Change::Edit { content, .. } => content.as_str().len(),
        Change::Delete { .. } => 0,
    }
}

#[cfg(test)]
mod tests;
