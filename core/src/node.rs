//! `Node`: what all reactors of one process share.
//!
//! Each part is an atomic, or a table behind short locks that the path of a message never takes. Nothing here acts;
//! reactors, room workers and storage threads write what they know and read what others wrote.

mod ended;
mod health;
mod limits;
mod online;
mod rooms;

use std::fmt;
use std::sync::Arc;

pub use ended::Ended;
pub use health::Health;
pub use limits::Limits;
pub use online::OnlineCounts;
pub use rooms::KnownRooms;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::origin::OriginRules;
use crate::time::Now;
use crate::token::Keys;
use crate::users::UserTable;

/// One process, as far as its parts have to know of each other.
pub struct Node {
    pub config: Config,
    /// How many reactors there are.
    pub reactors: u16,
    pub keys: Keys,
    pub origins: OriginRules,
    pub users: UserTable,
    pub limits: Limits,
    /// Room workers hold this one too.
    pub online: Arc<OnlineCounts>,
    pub ended: Ended,
    pub rooms: KnownRooms,
    pub health: Health,
    /// What is counted.
    pub counters: Arc<Metrics>,
    /// The text of `/metrics`, made when it is asked for.
    pub metrics: MetricsText,
}

/// Makes the text format of Prometheus.
pub type MetricsText = Box<dyn Fn() -> Vec<u8> + Send + Sync>;

impl Node {
    pub fn new(
        config: Config,
        keys: Keys,
        origins: OriginRules,
        reactors: u16,
        metrics: MetricsText,
    ) -> Node {
        Node {
            limits: Limits::new(&config),
            config,
            reactors,
            keys,
            origins,
            users: UserTable::default(),
            online: Arc::default(),
            ended: Ended::new(ACCESS_LIFE_S * 1000 + CLOCKS_DIFFER_MS, ENDED_MAX),
            rooms: KnownRooms::new(KNOWN_ROOMS_MAX),
            health: Health::default(),
            counters: Metrics::new(),
            metrics,
        }
    }

    /// How full each shared table is, for the gauges: its name, what is in it, and how much may be. Users and rooms with
    /// somebody in them are bounded by the connections.
    pub fn fills(&self, now: Now) -> Vec<(&'static str, usize, Option<usize>)> {
        let mut fills = vec![
            ("users", self.users.len(), None),
            ("rooms_online", self.online.rooms(), None),
            ("ended_sessions", self.ended.len(), Some(ENDED_MAX)),
            ("known_rooms", self.rooms.len(), Some(KNOWN_ROOMS_MAX)),
        ];
        fills.extend(self.limits.fills(now).map(|(name, fill, bound)| (name, fill, Some(bound))));
        fills
    }

    /// How many rooms a user may create in 24 hours; a limit of section 6, so there is none without rate limits.
    pub fn rooms_per_day_max(&self) -> Option<u32> {
        self.config.rate_limit.then_some(self.config.rooms_per_day)
    }

    /// How many connections a user may have; a limit of section 6, so there is none without rate limits.
    pub fn user_connections_max(&self) -> u32 {
        if self.config.rate_limit { self.config.user_connections } else { u32::MAX }
    }

    /// What `welcome` and the documents call this server.
    pub fn server_name(&self) -> &'static str {
        concat!("chatroom/", env!("CARGO_PKG_VERSION"))
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("health", &self.health).finish_non_exhaustive()
    }
}

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long an access token lives (PROTOCOL.md section 2).
pub const ACCESS_LIFE_S: u64 = 15 * 60;

/// What the clocks of two nodes may differ.
const CLOCKS_DIFFER_MS: u64 = 60_000;

/// Some 32 MiB. To fill it takes a thousand log-outs a second for as long as tokens live.
const ENDED_MAX: usize = 1_000_000;

/// Some 2 MiB; more rooms than a node is likely to serve at once.
const KNOWN_ROOMS_MAX: usize = 100_000;
