//! Where a PostgreSQL database is and how it is spoken to, read from the DSN once.
//!
//! The driver knows `sslmode` only in part and `sslrootcert` not at all, so both are taken out of the connection string
//! before it sees it.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::{Connector, Trust};
use crate::{OpenError, Options};

/// Everything that a connection needs.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: Connector,
    pub(super) statement_timeout: Duration,
    pub(super) lock_timeout: Duration,
    /// Host, port and database, for messages.
    pub(super) place: String,
}

impl Target {
    pub(super) fn parse(dsn: &str, options: &Options) -> Result<Target, OpenError> {
        let (rest, ssl) = take_ssl(dsn)?;
        let mut config: Config = rest.parse().map_err(|error| wrong(&explain_config(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            // As libpq would, with Debian's place for the socket.
            config.host("/var/run/postgresql");
        }
        let only_sockets = config.get_hostaddrs().is_empty()
            && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let (mode, trust) = ssl.meaning()?;
        config.ssl_mode(if only_sockets { SslMode::Disable } else { mode });
        if config.get_application_name().is_none() {
            config.application_name("chatroom");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if config.get_hosts().len() > 1 {
            // Of several hosts the one that takes writes is meant, whichever that is today.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = Connector::new(trust, ssl.root.as_deref()).map_err(|why| wrong(&why))?;
        let place = place(&config);
        let Options { statement_timeout, lock_timeout, .. } = *options;
        Ok(Target { config, tls, statement_timeout, lock_timeout, place })
    }

    /// How long a whole attempt to connect may take: each host's own time, and some for the handshakes.
    pub(super) fn connect_deadline(&self) -> Duration {
        let one = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()).max(1);
        one.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX)).saturating_add(CONNECT_TIMEOUT)
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that acknowledges nothing for so long is gone.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings about TLS in a DSN.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ssl {
    mode: Option<String>,
    root: Option<PathBuf>,
}

impl Ssl {
    fn set(&mut self, key: &str, value: &str) -> bool {
        match key {
            "sslmode" => self.mode = Some(value.to_owned()),
            // "system" is libpq's word for what is done here without it.
            "sslrootcert" if value == "system" => self.root = None,
            "sslrootcert" => self.root = Some(PathBuf::from(value)),
            _ => return false,
        }
        true
    }

    fn meaning(&self) -> Result<(SslMode, Trust), OpenError> {
        match (self.mode.as_deref().unwrap_or("prefer"), &self.root) {
            ("disable", _) => Ok((SslMode::Disable, Trust::Anybody)),
            ("allow" | "prefer", _) => Ok((SslMode::Prefer, Trust::Anybody)),
            // With a file of authorities libpq takes `require` for `verify-ca`.
            ("require", None) => Ok((SslMode::Require, Trust::Anybody)),
            ("require", Some(_)) | ("verify-ca", _) => Ok((SslMode::Require, Trust::Authority)),
            ("verify-full", _) => Ok((SslMode::Require, Trust::AuthorityAndName)),
            _ => Err(wrong("sslmode is disable, allow, prefer, require, verify-ca or verify-full")),
        }
    }
}

fn take_ssl(dsn: &str) -> Result<(String, Ssl), OpenError> {
    if dsn.contains("://") { take_ssl_from_url(dsn) } else { take_ssl_from_pairs(dsn) }
}

fn take_ssl_from_url(dsn: &str) -> Result<(String, Ssl), OpenError> {
    let mut ssl = Ssl::default();
    // A question mark in the password must be written as %3F.
    let Some((address, query)) = dsn.split_once('?') else { return Ok((dsn.to_owned(), ssl)) };
    let mut rest = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decoded(value).ok_or_else(|| wrong("a % must be followed by two hex digits"))?;
        if !ssl.set(key, &value) {
            rest.push(pair);
        }
    }
    let rest = if rest.is_empty() { address.to_owned() } else { format!("{address}?{}", rest.join("&")) };
    Ok((rest, ssl))
}

/// `key = value`, a value with blanks in quotes, `\` before a quote or another `\`.
fn take_ssl_from_pairs(dsn: &str) -> Result<(String, Ssl), OpenError> {
    let mut ssl = Ssl::default();
    let mut kept = String::new();
    let mut text = dsn.trim_start();
    while !text.is_empty() {
        let Some((key, after)) = text.split_once('=') else { return Err(wrong("a setting without a value")) };
        let (value, behind) = value(after.trim_start())?;
        let whole = &text[..text.len() - behind.len()];
        if !ssl.set(key.trim(), &value) {
            kept.push_str(whole.trim());
            kept.push(' ');
        }
        text = behind.trim_start();
    }
    Ok((kept, ssl))
}

/// The value at the beginning of a text, and what follows it.
fn value(text: &str) -> Result<(String, &str), OpenError> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => return Err(wrong("a backslash at the end")),
            },
            '\'' if quoted => return Ok((value, &body[place + 1..])),
            blank if !quoted && blank.is_whitespace() => return Ok((value, &body[place..])),
            other => value.push(other),
        }
    }
    if quoted { Err(wrong("a quote that does not end")) } else { Ok((value, "")) }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(high)? * 16 + digit(low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

fn place(config: &Config) -> String {
    let hosts: Vec<String> = match (config.get_hosts(), config.get_hostaddrs()) {
        ([], addresses) => addresses.iter().map(ToString::to_string).collect(),
        (hosts, _) => hosts
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect(),
    };
    let ports = config.get_ports();
    let at: Vec<String> = hosts
        .iter()
        .enumerate()
        .map(|(n, host)| format!("{host}:{}", ports.get(n).or(ports.first()).copied().unwrap_or(5432)))
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("its default database");
    format!("{database} at {}", at.join(","))
}

/// The driver's own words, which name a key and no value.
fn explain_config(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn wrong(why: &str) -> OpenError {
    OpenError::Dsn(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(dsn: &str) -> Result<Target, OpenError> {
        Target::parse(dsn, &Options::default())
    }

    #[test]
    fn both_forms_are_read() {
        for dsn in [
            "postgres://anna:s%40cret@db.example:5433/chat?sslmode=require&connect_timeout=3",
            "postgresql://anna:s%40cret@db.example:5433/chat?connect_timeout=3&sslmode=require",
            "host=db.example port=5433 user=anna password=s@cret dbname=chat sslmode=require connect_timeout=3",
            "host = 'db.example' port=5433  user=anna password='s@cret' sslmode = 'require' dbname=chat connect_timeout=3",
        ] {
            let target = parse(dsn).unwrap();
            assert_eq!(target.place, "chat at db.example:5433", "{dsn}");
            assert_eq!(target.config.get_password(), Some(&b"s@cret"[..]), "{dsn}");
            assert_eq!(target.config.get_ssl_mode(), SslMode::Require, "{dsn}");
            assert_eq!(target.config.get_connect_timeout(), Some(&Duration::from_secs(3)), "{dsn}");
        }
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        let ssl = |mode: Option<&str>, root: Option<&str>| {
            Ssl { mode: mode.map(str::to_owned), root: root.map(PathBuf::from) }.meaning()
        };
        for (mode, root, expected) in [
            (None, None, (SslMode::Prefer, Trust::Anybody)),
            (Some("disable"), None, (SslMode::Disable, Trust::Anybody)),
            (Some("allow"), None, (SslMode::Prefer, Trust::Anybody)),
            (Some("require"), None, (SslMode::Require, Trust::Anybody)),
            (Some("require"), Some("ca.pem"), (SslMode::Require, Trust::Authority)),
            (Some("verify-ca"), None, (SslMode::Require, Trust::Authority)),
            (Some("verify-full"), Some("ca.pem"), (SslMode::Require, Trust::AuthorityAndName)),
        ] {
            assert_eq!(ssl(mode, root), Ok(expected), "{mode:?} {root:?}");
        }
        assert!(ssl(Some("yes"), None).is_err());
    }

    #[test]
    fn a_unix_socket_is_spoken_to_without_tls() {
        let target = parse("host=/run/pg user=u dbname=d sslmode=require").unwrap();
        assert_eq!(target.config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(target.place, "d at /run/pg:5432");
    }

    #[test]
    fn wrong_settings_are_one_line_without_the_password() {
        for dsn in [
            "postgres://u:secret@h/d?sslmode=maybe",
            "postgres://u:secret@h/d?sslcert=x",
            "postgres://u:secret@h/d?sslrootcert=/does/not/exist&sslmode=verify-full",
            "postgres://u:secret@h:port/d",
            "postgres://u:secret@h/d?sslmode=%zz",
            "host=h password='secret",
            "host=h password=secret nonsense",
            "host=h password=secret port=x",
            "host=h password=secret\\",
        ] {
            let Err(error) = parse(dsn) else { panic!("{dsn}") };
            let line = error.to_string();
            assert!(
                line.starts_with("DATABASE_DSN: ") && !line.contains('\n') && !line.contains("secret"),
                "{line}"
            );
        }
    }
}
