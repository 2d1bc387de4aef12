//! `Rest`: one request of a bot over HTTP, and the check of its answer against the true log.

use chatroom_core::event::{Event, EventKind};
use chatroom_core::id::Seq;
use serde_json::{Value, json};

use super::disk::{Disk, Log};
use super::memory::{Change, Fate, Memory};
use super::track::{Broken, compare, number};
use super::wire::{Response, Wire};

pub struct Rest {
    wire: Wire,
    /// The node's life, as in `Conn`.
    pub life: u64,
    asked: Asked,
    since_ms: u64,
    /// The room's last event that was acked before this was asked: every answer knows of it.
    acked: u64,
}

#[derive(Debug)]
pub enum Asked {
    /// The newest messages, at most so many.
    Page(u64, usize),
    /// So many events behind one.
    Events(u64, u64, usize),
    /// One of the requests in memory.
    Change(usize),
}

/// What came of polling.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    NotYet,
    /// Answered, or never to be; where a page was read, the room and the last event that is folded into it.
    Done(Option<(u64, u64)>),
}

/// A request's deadline, what the reactor adds to it, and what the store and the wire may.
const ANSWER_MS: u64 = 30_000;

impl Rest {
    pub fn ask(
        mut wire: Wire,
        token: &str,
        life: u64,
        asked: Asked,
        memory: &mut Memory,
        now_ms: u64,
    ) -> Rest {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let room = match &asked {
            Asked::Page(room, _) | Asked::Events(room, ..) => *room,
            Asked::Change(number) => memory.requests[*number].room,
        };
        let base = format!("/api/v1/rooms/{room}");
        match &asked {
            Asked::Page(_, limit) => {
                wire.request("GET", &format!("{base}/messages?limit={limit}"), &headers, None)
            }
            Asked::Events(_, after, limit) => {
                wire.request("GET", &format!("{base}/events?after={after}&limit={limit}"), &headers, None);
            }
            Asked::Change(number) => {
                let request = &mut memory.requests[*number];
                request.fate = Fate::Sent;
                let (method, target, mut body) = match &request.change {
                    Change::Message(content) => {
                        ("POST", format!("{base}/messages"), Some(json!({"content": content})))
                    }
                    Change::Edit(of, content) => {
                        ("PATCH", format!("{base}/messages/{of}"), Some(json!({"content": content})))
                    }
                    Change::Delete(of) => ("DELETE", format!("{base}/messages/{of}"), None),
                };
                if let (Some(body), Some(nonce), Change::Message(_)) =
                    (&mut body, &request.nonce, &request.change)
                {
                    body["nonce"] = json!(nonce);
                }
                wire.request(method, &target, &headers, body.as_ref());
            }
        }
        let acked = memory.acked(room);
        Rest { wire, life, asked, since_ms: now_ms, acked }
    }

    pub fn poll(
        &mut self,
        me: u64,
        memory: &mut Memory,
        disk: &Disk,
        now_ms: u64,
    ) -> Result<Answered, Broken> {
        self.wire.flush();
        self.wire.receive(usize::MAX);
        match self.wire.response()? {
            Some(response) => {
                let done = self.check(&response, me, memory, disk);
                done.map(Answered::Done)
                    .map_err(|broken| format!("{:?}: {broken}: {}", self.asked, response.json()))
            }
            None if self.wire.has_ended() => {
                self.lose(memory);
                Ok(Answered::Done(None))
            }
            None if now_ms > self.since_ms + ANSWER_MS => Err(format!("no answer to {:?}", self.asked)),
            None => Ok(Answered::NotYet),
        }
    }

    /// It is not known what becomes of it.
    pub fn lose(&self, memory: &mut Memory) {
        if let Asked::Change(number) = self.asked {
            memory.requests[number].lose();
        }
    }

    fn check(
        &self,
        response: &Response,
        me: u64,
        memory: &mut Memory,
        disk: &Disk,
    ) -> Result<Option<(u64, u64)>, Broken> {
        if matches!(response.status, 429 | 503) {
            if response.header("retry-after").is_none() {
                return Err("no Retry-After".to_owned());
            }
            self.lose(memory);
            return Ok(None);
        }
        let body = response.json();
        match &self.asked {
            Asked::Page(room, limit) if response.status == 200 => {
                let seq = number(&body, "seq")?;
                if seq < self.acked {
                    return Err(format!("a page up to {seq}, though {} was acked before", self.acked));
                }
                log(disk, *room, |log| check_page(&body, seq, *limit, log))?;
                Ok(Some((*room, seq)))
            }
            Asked::Events(room, after, limit) if response.status == 200 => {
                let events = body["events"].as_array().ok_or("no events")?;
                log(disk, *room, |log| {
                    for (seq, frame) in (after + 1..).zip(events) {
                        let event = log.event(seq).ok_or_else(|| format!("event {seq} is not durable"))?;
                        if number(frame, "seq")? != seq {
                            return Err(format!("event {} where {seq} comes next", frame["seq"]));
                        }
                        compare(frame, event, log)?;
                    }
                    let last = after + events.len() as u64;
                    let is_short = events.len() < *limit && body["has_more"] == false;
                    if is_short && last < self.acked {
                        return Err(format!(
                            "the log ends at {last}, though {} was acked before",
                            self.acked
                        ));
                    }
                    Ok(())
                })?;
                Ok(None)
            }
            Asked::Change(number) => {
                self.check_change(response, &body, *number, me, memory, disk)?;
                Ok(None)
            }
            Asked::Page(..) | Asked::Events(..) => Err(format!("status {}", response.status)),
        }
    }

    fn check_change(
        &self,
        response: &Response,
        body: &Value,
        number: usize,
        me: u64,
        memory: &mut Memory,
        disk: &Disk,
    ) -> Result<(), Broken> {
        let request = &mut memory.requests[number];
        let room = request.room;
        if let Some(code) = body.get("code").and_then(Value::as_str) {
            return log(disk, room, |log| request.refused(code, me, log));
        }
        log(disk, room, |log| {
            // The answer shows the message, and not the event: find that by what it is.
            let mine = |event: &&Event| request.is(event, me, response.status == 204);
            let found = log.events.iter().find(mine).ok_or_else(|| format!("{request:?} is not durable"))?;
            let seq = found.seq.get();
            let expected: &[u16] = match &request.change {
                Change::Message(_) => &[200, 201],
                Change::Edit(..) => &[200],
                Change::Delete(_) => &[204],
            };
            if !expected.contains(&response.status) {
                return Err(format!("status {}", response.status));
            }
            if let Fate::Acked(before) = request.fate
                && before != seq
            {
                return Err(format!("{request:?} is acked anew as {seq}"));
            }
            request.fate = Fate::Acked(seq);
            match &request.change {
                Change::Message(_) if body["seq"] != seq => {
                    Err(format!("message {} is event {seq}", body["seq"]))
                }
                Change::Edit(of, _) if body["seq"] != *of => {
                    Err(format!("an edit of {of} answers {}", body["seq"]))
                }
                Change::Message(_) | Change::Edit(..) | Change::Delete(_) => Ok(()),
            }
        })
    }
}

/// A page of the folded state as of `seq`: the newest messages, as they were then.
fn check_page(body: &Value, seq: u64, limit: usize, log: &Log) -> Result<(), Broken> {
    if seq > log.events.len() as u64 {
        return Err("a page beyond the log".to_owned());
    }
    let then = || log.events.iter().take_while(|event| event.seq.get() <= seq);
    let messages: Vec<&Event> =
        then().filter(|event| matches!(event.kind, EventKind::Message { .. })).collect();
    let expected = &messages[messages.len().saturating_sub(limit)..];
    let page = body["messages"].as_array().ok_or("no messages")?;
    if page.len() != expected.len() || (body["has_more"] == true) != (expected.len() < messages.len()) {
        return Err(format!("{} messages of {}, has_more {}", page.len(), messages.len(), body["has_more"]));
    }
    for (got, event) in page.iter().zip(expected) {
        let deleted = log.deleted.get(&event.seq).is_some_and(|by| by.get() <= seq);
        let content = if deleted { None } else { last_content(then(), event.seq) };
        let fits = got["seq"] == event.seq.get()
            && got["user"]["id"] == event.user.id.get()
            && got.get("deleted").is_some_and(|deleted| deleted == true) == deleted
            && got.get("content").and_then(Value::as_str) == content;
        if !fits {
            return Err(format!("message {} was then {content:?}, and not {got}", event.seq));
        }
    }
    Ok(())
}

/// What a message says after these events.
fn last_content<'a>(events: impl Iterator<Item = &'a Event>, message: Seq) -> Option<&'a str> {
    let says = |event: &'a Event| match &event.kind {
        EventKind::Message { content, .. } if event.seq == message => content.as_ref(),
        EventKind::Edit { of, content } if *of == message => content.as_ref(),
        EventKind::Message { .. } | EventKind::Edit { .. } | EventKind::Delete { .. } => None,
    };
    events.filter_map(says).last().map(|content| content.as_str())
}

fn log<T>(disk: &Disk, room: u64, look: impl FnOnce(&Log) -> T) -> T {
    let room = chatroom_core::id::RoomId::new(room).expect("a room of the simulation");
    disk.with_log(room, look)
}
