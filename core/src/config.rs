//! `Config`: every setting, with its default, its range and what it is for (PROTOCOL.md section 1).
//!
//! The table below is the only place that names a setting. From it come the struct, the parsing, the check for unknown
//! names, what `check-config` prints and the page of the documentation. Nothing is read here: the environment and the
//! contents of files are handed in.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

mod check;
mod reference;
mod source;
mod value;

pub use reference::reference;
pub use source::{ConfigError, Inputs, Listed, Source};
pub use value::{Dsn, Environment, LogFormat, Secret};

use source::Found;
use value::{
    address, auto, bytes, dsn, environment, integer, level, log_format, networks, origins, path, per_minute,
    per_second, redis_url, registration, secret, secrets, switch, web_address,
};

use crate::limit::Rate;
use crate::password::PasswordCost;

/// The parts that a build has; a setting for one that it lacks is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// TLS on the port.
    pub tls: bool,
    /// PostgreSQL as a store.
    pub postgres: bool,
    /// Redis between nodes.
    pub redis: bool,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Without the prefix `CHATROOM_`.
    pub name: &'static str,
    /// What it is when nobody sets it.
    pub default: Preset,
    /// Whether its value is masked, and may be read from the file that `<NAME>_FILE` names.
    pub secret: bool,
    /// What it is for.
    pub doc: &'static str,
}

/// What a setting is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// This text, which parses.
    Text(&'static str),
    /// This text in development, that in production.
    ByEnvironment(&'static str, &'static str),
    /// Nothing.
    Absent,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:literal, $field:ident: $type:ty = $default:expr, $take:ident($parse:expr) $(, $secret:ident)?;)+) => {
        /// Everything that can be set, checked: what is in here can be used as it is.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $type,)+
            listed: Vec<Listed>,
        }

        /// All settings, in the order in which they are shown.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            name: $name,
            default: $default,
            secret: settings!(@secret $($secret)?),
            doc: concat!($($doc, "\n"),+),
        }),+];

        impl Config {
            fn read(found: &mut Found<'_>) -> Result<Config, ConfigError> {
                let mut settings = SETTINGS.iter();
                Ok(Config {
                    // The table and the fields have the same order: one macro made both.
                    $($field: found.$take(settings.next().expect("a setting for each field"), $parse)?,)+
                    listed: Vec::new(),
                })
            }
        }
    };
    (@secret secret) => { true };
    (@secret) => { false };
}

settings! {
    /// `development` or `production`.
    "APP_ENV", environment: Environment = Preset::Text("development"), must(environment);
    /// TCP port; `0` asks the system for one. The bound address is logged.
    "APP_PORT", app_port: u16 = Preset::Text("8080"), must(integer(0..=65_535));
    /// Address to bind, an IP address.
    "APP_HOST", app_host: IpAddr = Preset::ByEnvironment("127.0.0.1", "0.0.0.0"), must(address);
    /// Path of a Unix socket to listen on besides; its peer counts as a trusted proxy.
    "APP_SOCKET", app_socket: Option<PathBuf> = Preset::Absent, may(path);
    /// File to which the bound address is written.
    "PORT_FILE", port_file: Option<PathBuf> = Preset::Absent, may(path);
    /// When set, `/metrics` and `/debug/*` are on this port and not on `APP_PORT`.
    "ADMIN_PORT", admin_port: Option<u16> = Preset::Absent, may(integer(0..=65_535));
    /// `sqlite://PATH`, or `postgres://…` (URL or key=value form).
    "DATABASE_DSN", database: Dsn = Preset::Text("sqlite://data/chatroom.db"), must(dsn), secret;
    /// Key for tokens, 32 bytes or more. In development one is made when none is set.
    "JWT_SECRET", jwt_secret: Option<Secret> = Preset::Absent, may(secret), secret;
    /// Keys still accepted for verification, comma-separated: rotation without a log-out.
    "JWT_SECRET_PREVIOUS", jwt_secret_previous: Vec<Secret> = Preset::Absent, list(secrets), secret;
    /// When set, nodes share rooms over this Redis.
    "REDIS_URL", redis_url: Option<Secret> = Preset::Absent, may(redis_url), secret;
    /// PEM file with the certificate chain; with `TLS_KEY` the port speaks TLS. Read again on SIGHUP.
    "TLS_CERT", tls_cert: Option<PathBuf> = Preset::Absent, may(path);
    /// PEM file with the private key.
    "TLS_KEY", tls_key: Option<PathBuf> = Preset::Absent, may(path);
    /// Networks, comma-separated, whose `X-Forwarded-For` and `X-Forwarded-Proto` count.
    "TRUSTED_PROXIES", trusted_proxies: Vec<IpNet> = Preset::Absent, list(networks);
    /// The address that browsers use. In development the bound address counts.
    "PUBLIC_URL", public_url: Option<String> = Preset::Absent, may(web_address);
    /// More origins from which browsers may come, comma-separated: scheme, host and port.
    "ALLOWED_ORIGINS", allowed_origins: Vec<String> = Preset::Absent, list(origins);
    /// `open`, or `closed`: accounts only by `chatroom user add`.
    "REGISTRATION", registration_open: bool = Preset::Text("open"), must(registration);
    /// `off` refuses tokens in a URL.
    "QUERY_TOKEN", query_token: bool = Preset::Text("on"), must(switch);
    /// `off` for load tests: no limit of how often.
    "RATE_LIMIT", rate_limit: bool = Preset::Text("on"), must(switch);
    /// argon2id's memory in KiB, passes and lanes. Less than the default is refused in production.
    "PASSWORD_COST", password_cost: PasswordCost = Preset::Text("19456,2,1"), must(value::parsed);
    /// `on` serves `/debug/echo`.
    "DEBUG_ECHO", debug_echo: bool = Preset::Text("off"), must(switch);
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,chatroom_core=debug`.
    "LOG_LEVEL", log_level: String = Preset::Text("info"), must(level);
    /// `text` or `json`.
    "LOG_FORMAT", log_format: LogFormat = Preset::ByEnvironment("text", "json"), must(log_format);

    /// REST requests of a user: a second, burst.
    "USER_REST_RATE", user_rest_rate: Rate = Preset::Text("20/40"), must(per_second);
    /// WebSocket frames of a user: a second, burst.
    "USER_FRAME_RATE", user_frame_rate: Rate = Preset::Text("20/40"), must(per_second);
    /// Requests without a token, of an address: a second, burst.
    "ADDRESS_REST_RATE", address_rest_rate: Rate = Preset::Text("20/40"), must(per_second);
    /// New connections of an address: a second, burst.
    "ADDRESS_CONNECT_RATE", address_connect_rate: Rate = Preset::Text("50/200"), must(per_second);
    /// Log-ins for an account from an address: a minute, burst.
    "LOGIN_RATE", login_rate: Rate = Preset::Text("10/10"), must(per_minute);
    /// Registrations from an address: a minute, burst.
    "REGISTER_RATE", register_rate: Rate = Preset::Text("10/10"), must(per_minute);
    /// Uses of refresh tokens of a session: a minute, burst.
    "REFRESH_RATE", refresh_rate: Rate = Preset::Text("10/10"), must(per_minute);
    /// How many addresses, accounts or sessions each table of limits remembers.
    "LIMIT_TABLE_MAX", limit_table_max: usize = Preset::Text("65536"), must(integer(64..=16_777_216));
    /// Connections of a user.
    "USER_CONNECTIONS", user_connections: u32 = Preset::Text("64"), must(integer(1..=1_000_000));
    /// Rooms that a user may create in a day.
    "ROOMS_PER_DAY", rooms_per_day: u32 = Preset::Text("20"), must(integer(0..=1_000_000));

    /// Connections of the node.
    "CONNECTIONS_MAX", connections_max: usize = Preset::Text("100000"), must(integer(1..=10_000_000));
    /// Connections that the system keeps for us until they are accepted.
    "BACKLOG", backlog: u32 = Preset::Text("4096"), must(integer(1..=65_535));
    /// Rooms of a connection.
    "ROOMS_PER_CONNECTION", rooms_per_connection: usize = Preset::Text("256"), must(integer(1..=10_000));
    /// Characters of a message; the contract's 4,000 or fewer.
    "CONTENT_CHARS_MAX", content_chars_max: usize = Preset::Text("4000"), must(integer(1..=4_000));
    /// Bytes of a WebSocket message.
    "FRAME_BYTES_MAX", frame_bytes_max: usize = Preset::Text("64KiB"), must(bytes(1024, 16 << 20));
    /// Bytes of a WebSocket message that is skipped and answered; a longer one closes the connection.
    "FRAME_SKIP_BYTES_MAX", frame_skip_bytes_max: usize = Preset::Text("1MiB"), must(bytes(1024, 256 << 20));
    /// Bytes of a request's head.
    "HEAD_BYTES_MAX", head_bytes_max: usize = Preset::Text("16KiB"), must(bytes(1024, 1 << 20));
    /// Bytes of a request's body.
    "BODY_BYTES_MAX", body_bytes_max: usize = Preset::Text("64KiB"), must(bytes(1024, 16 << 20));
    /// Events that are replayed on a connection that comes back.
    "REPLAY_MAX", replay_max: u64 = Preset::Text("1000"), must(integer(1..=1_000_000));
    /// Bytes of content in a page of messages or events.
    "PAGE_BYTES_MAX", page_bytes_max: u32 = Preset::Text("256KiB"), must(bytes(16 << 10, 16 << 20));
    /// Refused frames in 10 s that close a connection.
    "REFUSED_FRAMES_MAX", refused_frames_max: u32 = Preset::Text("100"), must(integer(1..=65_535));
    /// Answers that wait for a connection to take them; beyond that it is not read.
    "ANSWERS_MAX", answers_max: usize = Preset::Text("64"), must(integer(4..=65_535));
    /// `off`: no compression of WebSocket messages.
    "DEFLATE", deflate: bool = Preset::Text("on"), must(switch);

    /// Seconds that either side of a connection may be silent.
    "HEARTBEAT_S", heartbeat_s: u32 = Preset::Text("25"), must(integer(1..=3_600));
    /// Seconds in which a request's head must have come.
    "HEADER_TIMEOUT_S", header_timeout_s: u32 = Preset::Text("10"), must(integer(1..=3_600));
    /// Seconds in which a request's body must have come.
    "BODY_TIMEOUT_S", body_timeout_s: u32 = Preset::Text("30"), must(integer(1..=3_600));
    /// Seconds in which a WebSocket opened without a token must have shown one.
    "AUTH_TIMEOUT_S", auth_timeout_s: u32 = Preset::Text("10"), must(integer(1..=3_600));
    /// Seconds that a connection may stay without a request.
    "KEEPALIVE_TIMEOUT_S", keepalive_timeout_s: u32 = Preset::Text("60"), must(integer(1..=3_600));
    /// Seconds after which a request that still waits is answered `unavailable`.
    "REQUEST_DEADLINE_S", request_deadline_s: u32 = Preset::Text("10"), must(integer(1..=3_600));
    /// Seconds without taking a byte after which a connection is closed with 4413.
    "STALL_TIMEOUT_S", stall_timeout_s: u32 = Preset::Text("30"), must(integer(1..=3_600));
    /// Seconds between SIGTERM and the end of the last connection.
    "DRAIN_S", drain_s: u32 = Preset::Text("25"), must(integer(0..=3_600));

    /// Threads that serve connections; `auto` goes by the processors.
    "REACTORS", reactors: Option<u16> = Preset::Text("auto"), must(auto(1..=256));
    /// Threads that keep the rooms in order; `auto` goes by the processors.
    "ROOM_WORKERS", room_workers: Option<u16> = Preset::Text("auto"), must(auto(1..=256));
    /// Threads that write to the store; `auto`: one for SQLite, which has one writer, more for PostgreSQL.
    "LANES", lanes: Option<u16> = Preset::Text("auto"), must(auto(1..=256));
    /// Threads that read from the store; `auto` goes by the processors.
    "READERS", readers: Option<u16> = Preset::Text("auto"), must(auto(1..=256));
    /// Threads that hash passwords; `auto` goes by the processors. Each needs the memory of `PASSWORD_COST`.
    "HASHERS", hashers: Option<u16> = Preset::Text("auto"), must(auto(1..=256));
    /// Passwords that wait to be hashed.
    "HASH_QUEUE_MAX", hash_queue_max: usize = Preset::Text("256"), must(integer(1..=65_536));
    /// Mails that wait for a thread that writes to the store.
    "LANE_MAILBOX_MAX", lane_mailbox_max: usize = Preset::Text("4096"), must(integer(16..=1_048_576));
    /// Mails that wait for the threads that read from the store.
    "READER_MAILBOX_MAX", reader_mailbox_max: usize = Preset::Text("4096"), must(integer(16..=1_048_576));
    /// Mails that wait for a room worker.
    "WORKER_MAILBOX_MAX", worker_mailbox_max: usize = Preset::Text("4096"), must(integer(16..=1_048_576));
    /// Mails that wait for a reactor.
    "REACTOR_MAILBOX_MAX", reactor_mailbox_max: usize = Preset::Text("4096"), must(integer(16..=1_048_576));
    /// Events in one transaction.
    "BATCH_EVENTS_MAX", batch_events_max: usize = Preset::Text("512"), must(integer(1..=65_536));
    /// Bytes of content in one transaction.
    "BATCH_BYTES_MAX", batch_bytes_max: usize = Preset::Text("1MiB"), must(bytes(16 << 10, 256 << 20));

    /// Newest events that a room worker keeps of a room.
    "RECENT_EVENTS_MAX", recent_events_max: usize = Preset::Text("1000"), must(integer(1..=1_000_000));
    /// Bytes of the newest events that a room worker keeps of a room.
    "RECENT_BYTES_MAX", recent_bytes_max: usize = Preset::Text("1MiB"), must(bytes(64 << 10, 1 << 30));
    /// Bytes of the newest events of all rooms together.
    "RECENT_TOTAL_BYTES_MAX", recent_total_bytes_max: usize = Preset::Text("256MiB"), must(bytes(1 << 20, 1 << 40));
    /// Newest frames of a room that a reactor keeps for its members.
    "VIEW_FRAMES_MAX", view_frames_max: usize = Preset::Text("1024"), must(integer(16..=1_000_000));
    /// Bytes of the newest frames of a room that a reactor keeps for its members.
    "VIEW_BYTES_MAX", view_bytes_max: usize = Preset::Text("256KiB"), must(bytes(64 << 10, 1 << 30));
    /// Questions of one reactor to room workers about what connections have missed, that may wait at once.
    "CATCH_UP_MAX", catch_up_max: usize = Preset::Text("8"), must(integer(1..=1_024));
    /// Bytes that the system keeps for a connection to send.
    "SEND_BUFFER_BYTES", send_buffer_bytes: usize = Preset::Text("64KiB"), must(bytes(4 << 10, 16 << 20));
    /// Bytes that the system keeps of what a connection has sent.
    "RECEIVE_BUFFER_BYTES", receive_buffer_bytes: usize = Preset::Text("64KiB"), must(bytes(4 << 10, 16 << 20));
    /// Bytes not yet sent above which the system takes no more from us for a connection.
    "NOTSENT_LOWAT_BYTES", notsent_lowat_bytes: u32 = Preset::Text("16KiB"), must(bytes(1 << 10, 16 << 20));
}

impl Config {
    /// Reads all settings from what is handed in.
    ///
    /// # Errors
    /// The first thing that is wrong, in one line that names the setting: an unknown name, a value that does not parse, a
    /// contradiction, a part that this build lacks.
    pub fn load(inputs: &Inputs<'_>) -> Result<Config, ConfigError> {
        let mut found = Found::gather(inputs)?;
        let mut config = Config::read(&mut found)?;
        check::check(&config, &found, inputs.parts)?;
        config.listed = found.into_listed();
        Ok(config)
    }

    /// Every setting with its value, secrets masked, and where that came from.
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// Whether `APP_ENV` is `production`.
    pub fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    /// The certificate chain and the key, when the port is to speak TLS.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }

    /// [`Config::heartbeat_s`] in milliseconds.
    pub fn heartbeat_ms(&self) -> u64 {
        ms(self.heartbeat_s)
    }

    /// [`Config::header_timeout_s`] in milliseconds.
    pub fn header_timeout_ms(&self) -> u64 {
        ms(self.header_timeout_s)
    }

    /// [`Config::body_timeout_s`] in milliseconds.
    pub fn body_timeout_ms(&self) -> u64 {
        ms(self.body_timeout_s)
    }

    /// [`Config::auth_timeout_s`] in milliseconds.
    pub fn auth_timeout_ms(&self) -> u64 {
        ms(self.auth_timeout_s)
    }

    /// [`Config::keepalive_timeout_s`] in milliseconds.
    pub fn keepalive_timeout_ms(&self) -> u64 {
        ms(self.keepalive_timeout_s)
    }

    /// [`Config::request_deadline_s`] in milliseconds.
    pub fn request_deadline_ms(&self) -> u64 {
        ms(self.request_deadline_s)
    }

    /// [`Config::stall_timeout_s`] in milliseconds.
    pub fn stall_timeout_ms(&self) -> u64 {
        ms(self.stall_timeout_s)
    }

    /// [`Config::drain_s`] in milliseconds.
    pub fn drain_ms(&self) -> u64 {
        ms(self.drain_s)
    }
}

impl Default for Config {
    /// What a development server runs with when nothing is set.
    fn default() -> Config {
        Config::load(&Inputs::default()).expect("the defaults are valid")
    }
}

fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

#[cfg(test)]
mod tests;
