//! `DATABASE_DSN`, read once.

use std::fmt;
use std::path::PathBuf;

use crate::OpenError;

/// Where the data is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Dsn {
    /// The path of the file, relative to the working directory unless it begins with `/`.
    Sqlite(PathBuf),
    /// The connection string, as the driver understands it.
    Postgres(String),
}

impl Dsn {
    /// Reads `sqlite://PATH`, `postgres://…`, `postgresql://…`, or PostgreSQL's `key=value …`.
    pub fn parse(text: &str) -> Result<Dsn, OpenError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("sqlite://") {
            return parse_path(path);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Dsn::Postgres(text.to_owned()));
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            None if text.starts_with("sqlite:") => wrong(
                "write sqlite://PATH, with two slashes before a relative path and three before an absolute one",
            ),
            None if text.contains('=') => Ok(Dsn::Postgres(text.to_owned())),
            // A password may stand in what is not understood, so none of it is repeated.
            Some(_) | None => {
                wrong("must be sqlite://PATH, postgres://USER:PASSWORD@HOST/DATABASE or key=value pairs")
            }
        }
    }
}

/// Without the password.
impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dsn::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Dsn::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

fn parse_path(path: &str) -> Result<Dsn, OpenError> {
    if path.contains('?') {
        return wrong("sqlite:// takes a path and no parameters: leave out what follows the question mark");
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return wrong("sqlite:// must be followed by the path of a file");
    }
    if path == ":memory:" {
        return wrong("a database in memory would be lost with the process: name a file");
    }
    Ok(Dsn::Sqlite(PathBuf::from(path)))
}

fn wrong(why: &str) -> Result<Dsn, OpenError> {
    Err(OpenError::Dsn(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dsn_names_a_file_or_a_server() {
        for (text, expected) in [
            ("sqlite://data/chatroom.db", Dsn::Sqlite("data/chatroom.db".into())),
            (" sqlite:///var/lib/chat room.db\n", Dsn::Sqlite("/var/lib/chat room.db".into())),
            (
                "postgres://u:p@h/d?sslmode=require",
                Dsn::Postgres("postgres://u:p@h/d?sslmode=require".into()),
            ),
            ("host=/run user=chat", Dsn::Postgres("host=/run user=chat".into())),
        ] {
            assert_eq!(Dsn::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_wrong_dsn_is_one_line_without_what_it_said() {
        for text in [
            "",
            "sqlite:data.db",
            "sqlite://",
            "sqlite://data/",
            "sqlite://:memory:",
            "sqlite://data.db?mode=ro",
            "mysql://root:secret@h/d",
            "data/secret.db",
        ] {
            let error = Dsn::parse(text).unwrap_err().to_string();
            assert!(
                !error.contains('\n') && !error.contains("secret") && error.starts_with("DATABASE_DSN: "),
                "{error}"
            );
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        assert!(!format!("{:?}", Dsn::parse("postgres://u:secret@h/d")).contains("secret"));
    }
}
