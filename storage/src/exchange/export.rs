//! A store's content as lines, read page by page while others use it.

use std::collections::BTreeMap;
use std::io::Write;

use chatroom_core::id::{Seq, UserId};
use chatroom_core::store::{Found, MessageRange, Query, RoomRow, Store, UserRow};
use chatroom_core::text::{Topic, Username};
use chatroom_core::time::Timestamp;

use super::Line;
use crate::{Dsn, Options, Progress, ToolError, open};

/// What an export wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Accounts.
    pub users: u64,
    /// Rooms.
    pub rooms: u64,
    /// Messages that were not deleted.
    pub messages: u64,
}

/// Writes everything a line each, while others use the store. Who holds the lines holds the password hashes.
pub fn export(
    dsn: &Dsn,
    options: &Options,
    now: Timestamp,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<ExportReport, ToolError> {
    let mut stores = open(dsn, &Options { lanes: 1, readers: 1, ..options.clone() }, now)?;
    let Some(store) = stores.readers.first_mut() else {
        return Err(ToolError::Failed("the store has no reader".to_owned()));
    };
    let mut export =
        Export { store: &mut **store, now, out, report: ExportReport::default(), written: BTreeMap::new() };
    export.users(progress)?;
    let rooms = export.rooms(progress)?;
    let total = rooms.iter().map(|room| room.last_seq.get()).fold(0, u64::saturating_add);
    let mut done = 0;
    for room in &rooms {
        export.messages(room, done, total, progress)?;
        done = done.saturating_add(room.last_seq.get());
    }
    export.out.flush().map_err(|error| unwritten(&error))?;
    Ok(export.report)
}

struct Export<'a> {
    store: &'a mut dyn Store,
    now: Timestamp,
    out: &'a mut dyn Write,
    report: ExportReport,
    /// Who was written, with their names.
    written: BTreeMap<UserId, Username>,
}

/// Rows of a page.
const PAGE: u32 = 200;
const PAGE_BYTES: u32 = 1 << 20;

impl Export<'_> {
    fn users(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), ToolError> {
        let mut after = None;
        loop {
            progress(Progress { what: "exporting users", done: self.report.users, total: 0 });
            let Found::Users(users) = self.read(&Query::Users { after, limit: PAGE })? else {
                return Err(confused());
            };
            let Some(last) = users.last() else { return Ok(()) };
            after = Some(last.user.name.key());
            for user in &users {
                self.user(user)?;
            }
        }
    }

    fn user(&mut self, row: &UserRow) -> Result<(), ToolError> {
        if self.written.insert(row.user.id, row.user.name.clone()).is_some() {
            return Ok(());
        }
        self.report.users = self.report.users.saturating_add(1);
        self.line(&Line::User {
            username: row.user.name.to_string(),
            password_hash: row.password_hash.clone(),
            created_at: Some(row.created_at),
            disabled: row.disabled,
        })
    }

    /// The name of a user, who is written before if that has not happened yet: somebody may have come meanwhile.
    fn name_of(&mut self, user: UserId) -> Result<String, ToolError> {
        if !self.written.contains_key(&user)
            && let Found::User(Some(row)) = self.read(&Query::UserById { user })?
        {
            self.user(&row)?;
        }
        match self.written.get(&user) {
            Some(name) => Ok(name.to_string()),
            None => Err(ToolError::Failed(format!("the user {user} is not there: the database is damaged"))),
        }
    }

    fn rooms(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<Vec<RoomRow>, ToolError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            progress(Progress { what: "exporting rooms", done: self.report.rooms, total: 0 });
            let query = Query::Rooms { after, part: None, limit: PAGE };
            let Found::Rooms { rooms, more } = self.read(&query)? else { return Err(confused()) };
            after = rooms.last().map(|room| room.name.key());
            for room in rooms {
                let created_by = self.name_of(room.created_by)?;
                self.report.rooms = self.report.rooms.saturating_add(1);
                self.line(&Line::Room {
                    name: room.name.to_string(),
                    topic: room.topic.as_ref().map(Topic::to_string),
                    created_by,
                    created_at: Some(room.created_at),
                })?;
                all.push(room);
            }
            if !more {
                return Ok(all);
            }
        }
    }

    fn messages(
        &mut self,
        room: &RoomRow,
        done: u64,
        total: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ToolError> {
        let mut after = Seq::ZERO;
        loop {
            let done = done.saturating_add(after.get()).min(total);
            progress(Progress { what: "exporting messages", done, total });
            let range = MessageRange::After(after);
            let query = Query::Messages { room: room.id, range, limit: PAGE, bytes_max: PAGE_BYTES };
            let Found::Messages(Some(page)) = self.read(&query)? else { return Err(confused()) };
            after = page.messages.last().map_or(after, |message| message.seq);
            for message in page.messages {
                let Some(content) = message.content else { continue };
                let user = self.name_of(message.user.id)?;
                self.report.messages = self.report.messages.saturating_add(1);
                self.line(&Line::Message {
                    room: room.name.to_string(),
                    user,
                    content: content.to_string(),
                    created_at: Some(message.created_at),
                    nonce: message.nonce.map(|nonce| nonce.to_string()),
                })?;
            }
            if !page.has_more {
                return Ok(());
            }
        }
    }

    fn read(&mut self, query: &Query) -> Result<Found, ToolError> {
        Ok(self.store.read(query, self.now)?)
    }

    fn line(&mut self, line: &Line) -> Result<(), ToolError> {
        let mut text = serde_json::to_vec(line).map_err(|error| ToolError::Failed(error.to_string()))?;
        text.push(b'\n');
        self.out.write_all(&text).map_err(|error| unwritten(&error))
    }
}

fn confused() -> ToolError {
    ToolError::Failed("the store answered another question than it was asked".to_owned())
}

fn unwritten(error: &std::io::Error) -> ToolError {
    ToolError::Failed(format!("the lines cannot be written ({error})"))
}
