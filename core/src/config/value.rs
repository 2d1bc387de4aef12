//! What settings are written as. Each parser takes the text of a value and says in words what it should have been.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::limit::{Rate, RateText};

/// Why a value was refused: the rest of a sentence that begins with the setting's name. Never holds the value itself,
/// which may be secret.
pub(super) type Parsed<T> = Result<T, String>;

/// A text that is not printed and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// What stands in the place of a secret.
pub(super) const MASK: &str = "***";

/// `APP_ENV`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// On one's own machine: convenient.
    Development,
    /// Before others: strict.
    Production,
}

/// `LOG_FORMAT`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs, an object a line.
    Json,
}

/// `DATABASE_DSN`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dsn {
    /// The path of the database file.
    Sqlite(PathBuf),
    /// As `tokio-postgres` reads it: a URL, or key=value pairs.
    Postgres(Secret),
}

pub(super) fn environment(text: &str) -> Parsed<Environment> {
    match text {
        "development" => Ok(Environment::Development),
        "production" => Ok(Environment::Production),
        _ => Err("must be development or production".into()),
    }
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".into()),
    }
}

/// A level, or levels by module. The last word is the logger's.
pub(super) fn level(text: &str) -> Parsed<String> {
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    let fine = text.split(',').map(str::trim).all(|part| {
        let (module, level) = part.split_once('=').unwrap_or(("chatroom", part));
        let is_path = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
        levels.contains(&level) && !module.is_empty() && module.chars().all(is_path)
    });
    if fine {
        Ok(text.to_owned())
    } else {
        Err("must be error, warn, info, debug or trace, or such as info,chatroom_core=debug".into())
    }
}

pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("must be on or off".into()),
    }
}

pub(super) fn registration(text: &str) -> Parsed<bool> {
    match text {
        "open" => Ok(true),
        "closed" => Ok(false),
        _ => Err("must be open or closed".into()),
    }
}

/// An integer in a range.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Parsed<T>
where
    T: TryFrom<u64> + PartialOrd + fmt::Display,
{
    move |text| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse::<u64>().ok()).flatten().and_then(|n| T::try_from(n).ok());
        match number {
            Some(number) if range.contains(&number) => Ok(number),
            Some(_) | None => Err(format!("must be an integer from {} to {}", range.start(), range.end())),
        }
    }
}

/// A number of threads, or `auto`.
pub(super) fn auto(range: RangeInclusive<u16>) -> impl Fn(&str) -> Parsed<Option<u16>> {
    move |text| match text {
        "auto" => Ok(None),
        _ => integer(range.clone())(text).map(Some).map_err(|message| format!("{message}, or auto")),
    }
}

/// A number of bytes, plain or in KiB, MiB or GiB.
pub(super) fn bytes<T>(min: u64, max: u64) -> impl Fn(&str) -> Parsed<T>
where
    T: TryFrom<u64>,
{
    move |text| {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1u64 << 30)];
        let (digits, unit) = units
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|digits| (digits.trim_end(), *unit)))
            .unwrap_or((text, 1));
        integer(0..=u64::MAX)(digits)
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .filter(|number| (min..=max).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("must be {} to {} bytes, such as 64KiB", in_units(min), in_units(max)))
    }
}

/// A number of bytes as [`bytes`] reads it, in the largest unit that divides it.
fn in_units(number: u64) -> String {
    [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .iter()
        .find(|(_, bits)| number >= 1 << bits && number.trailing_zeros() >= *bits)
        .map_or_else(|| number.to_string(), |(name, bits)| format!("{}{name}", number >> bits))
}

pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Parsed<T> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn per_second(text: &str) -> Parsed<Rate> {
    let RateText { count, burst } = parsed(text)?;
    Rate::per_second(count, burst).ok_or_else(|| "is no rate".into())
}

pub(super) fn per_minute(text: &str) -> Parsed<Rate> {
    let RateText { count, burst } = parsed(text)?;
    Rate::per_minute(count, burst).ok_or_else(|| "is no rate".into())
}

pub(super) fn address(text: &str) -> Parsed<IpAddr> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| "must be an IP address, such as 0.0.0.0 or ::".into())
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if text.contains('\0') { Err("must be a path".into()) } else { Ok(text.into()) }
}

pub(super) fn secret(text: &str) -> Parsed<Secret> {
    Ok(text.into())
}

/// Secrets separated by commas.
pub(super) fn secrets(text: &str) -> Parsed<Vec<Secret>> {
    Ok(items(text).map(Secret::from).collect())
}

/// Networks or single addresses separated by commas.
pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let network = |item: &str| {
        let address = item.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_| item.parse::<IpNet>()).map(|network| network.trunc())
    };
    items(text)
        .map(network)
        .collect::<Result<_, _>>()
        .map_err(|_| "must be networks such as 10.0.0.0/8,2001:db8::/32".into())
}

/// The address of a web site, without its path.
pub(super) fn web_address(text: &str) -> Parsed<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    origin(text).ok_or_else(|| "must be such as https://chat.example, without a path".into())
}

/// Origins separated by commas.
pub(super) fn origins(text: &str) -> Parsed<Vec<String>> {
    items(text)
        .map(origin)
        .collect::<Option<_>>()
        .ok_or_else(|| "must be such as https://chat.example:8443,https://other.example".into())
}

pub(super) fn redis_url(text: &str) -> Parsed<Secret> {
    let known = ["redis://", "rediss://"].iter().any(|scheme| text.starts_with(scheme));
    if known { Ok(text.into()) } else { Err("must be redis://… or rediss://…".into()) }
}

pub(super) fn dsn(text: &str) -> Parsed<Dsn> {
    if let Some(path) = text.strip_prefix("sqlite://") {
        // SQLite would keep these in memory or in a file without a name, and lose them at the end.
        if path.is_empty() || path.starts_with(':') || path.contains('\0') {
            return Err("must name a file behind sqlite://".into());
        }
        return Ok(Dsn::Sqlite(path.into()));
    }
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    let is_pairs = !text.contains("://")
        && text.split_whitespace().any(|pair| {
            pair.split_once('=').is_some_and(|(key, _)| ["host", "hostaddr", "dbname", "user"].contains(&key))
        });
    if is_url || is_pairs {
        return Ok(Dsn::Postgres(text.into()));
    }
    Err("must be sqlite://PATH, postgres://… or key=value pairs such as host=… dbname=…".into())
}

/// A scheme, a host and a port as browsers write them in `Origin`: lower case, without the scheme's own port.
fn origin(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let own_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, integer::<u16>(1..=65_535)(port).ok()?),
        Some(_) | None => (authority, own_port),
    };
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    let host = host.to_ascii_lowercase();
    is_host.then(|| {
        if port == own_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
    })
}

/// A DSN or URL with whatever might be secret in it masked.
pub(super) fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        // A quoted value may hold anything, also what looks like another pair.
        return if text.contains('\'') { MASK.to_owned() } else { masked_pairs(text, ' ') };
    };
    if scheme == "sqlite" {
        return text.to_owned();
    }
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let place = match place.rsplit_once('@') {
        Some((_, place)) => format!("{MASK}@{place}"),
        // A password with a question mark in it, which nothing can be told apart in.
        None if query.is_some_and(|query| query.contains('@')) => return format!("{scheme}://{MASK}"),
        None => place.to_owned(),
    };
    match query {
        Some(query) => format!("{scheme}://{place}?{}", masked_pairs(query, '&')),
        None => format!("{scheme}://{place}"),
    }
}

/// Pairs of which only those are shown that hold nothing secret.
fn masked_pairs(text: &str, separator: char) -> String {
    let shown = ["host", "hostaddr", "port", "dbname", "sslmode", "application_name"];
    let mask = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if shown.contains(&name) => format!("{name}={value}"),
        Some((name, _)) if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
            format!("{name}={MASK}")
        }
        Some(_) | None => MASK.to_owned(),
    };
    text.split(separator).map(mask).collect::<Vec<_>>().join(&separator.to_string())
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}
