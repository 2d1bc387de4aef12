//! Numbered migrations, embedded in the program, forward only.
//!
//! Each names in its first line the oldest release that still works on the schema it leaves; only a program older than that
//! is refused. This file decides what is to be run; the stores run it, each one migration in one transaction behind a lock.

use std::fmt;

use chatroom_core::time::Timestamp;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// One step of the schema.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// From 1, without holes.
    pub number: u32,
    /// What it brings.
    pub name: &'static str,
    pub(crate) sql: &'static str,
}

impl Migration {
    /// SHA-256 of its text, in hex.
    pub fn checksum(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.sql))
    }

    /// The oldest release that works on the schema that it leaves.
    pub fn oldest_release(&self) -> Release {
        let release = self.sql.lines().next().and_then(|line| line.strip_prefix("-- oldest release: "));
        release
            .and_then(Release::parse)
            .expect("every embedded migration names its oldest release (a test says so)")
    }
}

/// A migration that a database says it went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// The checksum of the text that was run.
    pub checksum: String,
    /// The oldest release that works on it, as it said.
    pub oldest_release: String,
    /// When it was run.
    pub at: Timestamp,
}

/// A line of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The migration's number.
    pub number: u32,
    /// The migration's name.
    pub name: String,
    /// When it was applied; `None`: it is pending.
    pub applied_at: Option<Timestamp>,
}

/// A version of the program, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Release {
    /// The release that is running.
    pub fn current() -> Release {
        Release::parse(env!("CARGO_PKG_VERSION")).expect("the package's version is a version")
    }

    /// Reads `1.2.3`; what follows a `-` or `+` is left out.
    pub fn parse(text: &str) -> Option<Release> {
        let core = text.trim().split(['-', '+']).next()?;
        let mut parts = core.split('.').map(|part| part.parse().ok());
        let release = Release { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(release)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why a program and a schema do not fit together. One line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The schema is beyond this program.
    #[error("the database needs chatroom {needed} or newer, and this is {current}: start the newer program")]
    TooNew {
        /// What the schema asks for.
        needed: String,
        /// What is running.
        current: Release,
    },
    /// A migration's text is not the one that was run.
    #[error(
        "migration {number} ({name}) of the database is not the one that this program carries: \
         use an official build, or restore a backup"
    )]
    Changed {
        /// The migration's number.
        number: u32,
        /// The migration's name.
        name: String,
    },
    /// An older migration is missing among the applied ones.
    #[error("migration {number} is missing in the database while later ones are there: restore a backup")]
    Hole {
        /// The missing one.
        number: u32,
    },
}

/// What is to be run on a database that went through `applied`, in order.
pub fn pending<'a>(
    known: &'a [Migration],
    applied: &[Applied],
    current: Release,
) -> Result<Vec<&'a Migration>, SchemaError> {
    for done in applied {
        // One that cannot be read was written by a release that we know nothing of.
        if Release::parse(&done.oldest_release).is_none_or(|oldest| oldest > current) {
            return Err(SchemaError::TooNew { needed: done.oldest_release.clone(), current });
        }
    }
    let last = applied.iter().map(|done| done.number).max().unwrap_or(0);
    let mut pending = Vec::new();
    for migration in known {
        match applied.iter().find(|done| done.number == migration.number) {
            Some(done) if done.checksum != migration.checksum() => {
                return Err(SchemaError::Changed {
                    number: migration.number,
                    name: migration.name.to_owned(),
                });
            }
            Some(_) => {}
            None if migration.number < last => return Err(SchemaError::Hole { number: migration.number }),
            None => pending.push(migration),
        }
    }
    Ok(pending)
}

/// The whole listing: what was applied, then what is pending.
pub fn listing(applied: &[Applied], pending: &[&Migration]) -> Vec<Status> {
    let done = applied.iter().map(|done| Status {
        number: done.number,
        name: done.name.clone(),
        applied_at: Some(done.at),
    });
    let open = pending.iter().map(|migration| Status {
        number: migration.number,
        name: migration.name.to_owned(),
        applied_at: None,
    });
    done.chain(open).collect()
}

macro_rules! migrations {
    ($folder:literal: $($number:literal $name:literal),+ $(,)?) => {
        &[$(Migration {
            number: $number,
            name: $name,
            sql: include_str!(concat!("migrations/", $folder, "/", $name, ".sql")),
        }),+]
    };
}

/// Those of a SQLite database.
pub const SQLITE: &[Migration] = migrations!("sqlite": 1 "0001_first");

/// Those of a PostgreSQL database.
pub const POSTGRES: &[Migration] = migrations!("postgres": 1 "0001_first");

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(migration: &Migration) -> Applied {
        Applied {
            number: migration.number,
            name: migration.name.to_owned(),
            checksum: migration.checksum(),
            oldest_release: migration.oldest_release().to_string(),
            at: Timestamp::from_ms(0),
        }
    }

    const TWO: &[Migration] = &[
        Migration { number: 1, name: "0001_a", sql: "-- oldest release: 0.1.0\nSELECT 1;" },
        Migration { number: 2, name: "0002_b", sql: "-- oldest release: 0.1.0\nSELECT 2;" },
    ];

    #[test]
    fn the_embedded_migrations_are_numbered_and_name_a_release_not_newer_than_this() {
        for (place, migration) in SQLITE.iter().enumerate().chain(POSTGRES.iter().enumerate()) {
            assert_eq!(migration.number as usize, place + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.number)));
            assert!(migration.oldest_release() <= Release::current());
        }
    }

    #[test]
    fn what_was_not_applied_is_pending_in_order() {
        let release = Release::current();
        let numbers = |applied: &[Applied]| {
            pending(TWO, applied, release).map(|all| all.iter().map(|m| m.number).collect::<Vec<_>>())
        };
        assert_eq!(numbers(&[]), Ok(vec![1, 2]));
        assert_eq!(numbers(&[applied(&TWO[0])]), Ok(vec![2]));
        assert_eq!(numbers(&[applied(&TWO[0]), applied(&TWO[1])]), Ok(vec![]));
        assert_eq!(numbers(&[applied(&TWO[1])]), Err(SchemaError::Hole { number: 1 }));
    }

    #[test]
    fn a_later_schema_is_accepted_unless_it_asks_for_a_newer_program() {
        let mut later = applied(&TWO[1]);
        later.number = 3;
        let all = |later: &Applied| [applied(&TWO[0]), applied(&TWO[1]), later.clone()];
        assert!(pending(TWO, &all(&later), Release::current()).is_ok_and(|pending| pending.is_empty()));
        for needed in ["999.0.0", "someday"] {
            needed.clone_into(&mut later.oldest_release);
            let error = pending(TWO, &all(&later), Release::current()).unwrap_err();
            assert_eq!(error, SchemaError::TooNew { needed: needed.to_owned(), current: Release::current() });
        }
    }

    #[test]
    fn a_changed_migration_is_refused() {
        let mut changed = applied(&TWO[0]);
        changed.checksum = "0".repeat(64);
        let error = pending(TWO, &[changed], Release::current()).unwrap_err();
        assert_eq!(error, SchemaError::Changed { number: 1, name: "0001_a".to_owned() });
    }

    #[test]
    fn releases_are_compared_by_number() {
        let parse = |text| Release::parse(text).unwrap();
        assert!(parse("0.10.0") > parse("0.9.9") && parse("1.0.0-rc.1") == parse("1.0.0"));
        for wrong in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1.2.x", "-1.0.0"] {
            assert_eq!(Release::parse(wrong), None, "{wrong}");
        }
    }
}
