//! `chatroom backup`, `restore`, `migrate-store`, `import` and `room …`: the data as a whole, without the server's help.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use chatroom_core::config::Config;
use chatroom_core::store::{Found, Query};
use chatroom_core::text::RoomName;
use chatroom_storage::{Counts, Dsn, Options, Progress, ToolError};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, now, say, say_json, storage_dsn};

#[derive(Debug, Subcommand)]
pub(super) enum Room {
    /// All rooms.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write accounts, rooms and messages as lines of JSON to a file, or to standard output.
    Export {
        /// The file; it must not exist yet.
        file: Option<PathBuf>,
    },
}

impl From<ToolError> for Failure {
    fn from(error: ToolError) -> Failure {
        match error {
            ToolError::Refused(why) => Failure::Usage(why),
            ToolError::Open(error) => error.into(),
            ToolError::Failed(why) => Failure::Failed(anyhow::anyhow!(why)),
        }
    }
}

pub(super) fn backup(file: &Path, json: bool) -> Result<(), Failure> {
    let config = crate::env::load()?;
    let mut bar = Bar::default();
    let counts = chatroom_storage::backup(&storage_dsn(&config), file, &mut |progress| bar.show(progress))?;
    bar.end();
    tell(counts, json);
    Ok(())
}

pub(super) fn restore(file: &Path, json: bool) -> Result<(), Failure> {
    let config = crate::env::load()?;
    let mut bar = Bar::default();
    let counts = chatroom_storage::restore(file, &storage_dsn(&config), &mut |progress| bar.show(progress))?;
    bar.end();
    tell(counts, json);
    Ok(())
}

pub(super) fn migrate_store(from: &str, to: &str, json: bool) -> Result<(), Failure> {
    let (from, to) = (Dsn::parse(from)?, Dsn::parse(to)?);
    let mut bar = Bar::default();
    let counts = chatroom_storage::migrate_store(&from, &to, &Options::default(), now(), &mut |progress| {
        bar.show(progress)
    })?;
    bar.end();
    tell(counts, json);
    Ok(())
}

pub(super) fn import(file: &Path, json: bool) -> Result<(), Failure> {
    let config = crate::env::load()?;
    let source = File::open(file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    let bytes = source.metadata().map_or(0, |metadata| metadata.len());
    let mut bar = Bar::default();
    let report = chatroom_storage::import(
        &storage_dsn(&config),
        &Options::default(),
        now(),
        &mut BufReader::new(source),
        bytes,
        &mut |progress| bar.show(progress),
    )?;
    bar.end();
    if json {
        let problems: Vec<_> = report
            .problems
            .iter()
            .map(|problem| serde_json::json!({ "line": problem.line, "why": problem.why }))
            .collect();
        say_json(&serde_json::json!({
            "users": report.users, "rooms": report.rooms, "messages": report.messages,
            "known": report.known, "wrong": report.wrong, "problems": problems,
        }));
    } else {
        say(&format!(
            "{} accounts, {} rooms, {} messages; {} were there already, {} lines were wrong",
            report.users, report.rooms, report.messages, report.known, report.wrong
        ));
        for problem in &report.problems {
            say(&format!("line {}: {}", problem.line, problem.why));
        }
    }
    if report.wrong > 0 {
        Err(anyhow::anyhow!("{} lines were left out", report.wrong).into())
    } else {
        Ok(())
    }
}

pub(super) fn room(command: Room) -> Result<(), Failure> {
    let config = crate::env::load()?;
    match command {
        Room::List { json } => list(&config, json),
        Room::Export { file } => export(&config, file.as_deref()),
    }
}

fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let options = Options { lanes: 1, readers: 1, ..Options::default() };
    let mut stores = chatroom_storage::open(&storage_dsn(config), &options, now())?;
    let Some(reader) = stores.readers.first_mut() else {
        return Err(anyhow::anyhow!("the store gives no connections").into());
    };
    let (mut after, mut all) = (None::<String>, Vec::new());
    loop {
        let query = Query::Rooms { after, part: None, limit: PAGE };
        let Found::Rooms { rooms, more } =
            reader.read(&query, now()).context("the database does not answer")?
        else {
            return Err(anyhow::anyhow!("the store answered something else").into());
        };
        after = rooms.last().map(|room| RoomName::key(&room.name));
        for room in rooms {
            if json {
                all.push(serde_json::json!({
                    "id": room.id, "name": room.name.as_str(), "created_by": room.created_by,
                    "created_at": room.created_at.to_string(), "last_seq": room.last_seq,
                }));
            } else {
                say(&format!("{:>8}  {:>10}  {}", room.id, room.last_seq, room.name.as_str()));
            }
        }
        if !more || after.is_none() {
            break;
        }
    }
    if json {
        say_json(&all);
    }
    Ok(())
}

fn export(config: &Config, file: Option<&Path>) -> Result<(), Failure> {
    let mut bar = Bar::default();
    let mut out: Box<dyn Write> = match file {
        Some(path) => {
            let file = File::create_new(path)
                .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let options = Options::default();
    let report =
        chatroom_storage::export(&storage_dsn(config), &options, now(), &mut out, &mut |progress| {
            bar.show(progress)
        })?;
    out.flush().context("the lines cannot be written")?;
    bar.end();
    if file.is_some() {
        say(&format!("{} accounts, {} rooms, {} messages", report.users, report.rooms, report.messages));
    }
    Ok(())
}

fn tell(counts: Counts, json: bool) {
    let Counts { users, rooms, events } = counts;
    if json {
        say_json(&serde_json::json!({ "users": users, "rooms": rooms, "events": events }));
    } else {
        say(&format!("{users} accounts, {rooms} rooms, {events} events"));
    }
}

/// A bar on standard error for a person at a terminal; nothing for anybody else.
#[derive(Default)]
struct Bar {
    bar: Option<ProgressBar>,
    what: &'static str,
}

impl Bar {
    fn show(&mut self, progress: Progress) {
        if self.what != progress.what {
            self.end();
            self.what = progress.what;
            let bar = ProgressBar::new(progress.total);
            if let Ok(style) = ProgressStyle::with_template("{msg:20} {wide_bar} {percent:>3} %  {eta}") {
                bar.set_style(style);
            }
            bar.set_message(progress.what);
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Rooms read at a time.
const PAGE: u32 = 500;
