//! `Limits`: how often who may do what, over all reactors of a node (PROTOCOL.md section 6).
//!
//! Whoever is known has the state of the limits in the user's record; strangers share tables of a fixed size, each
//! behind a lock that is held for some dozens of nanoseconds. A check takes one from the bucket, or says in how many
//! milliseconds there will be one.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use foldhash::quality::RandomState;

use crate::config::Config;
use crate::id::SessionId;
use crate::limit::{AddressKey, LimitTable, Rate};
use crate::time::Now;
use crate::users::UserRecord;

/// The limits of a node.
#[derive(Debug)]
pub struct Limits {
    /// `RATE_LIMIT`: off for load tests.
    enabled: bool,
    user_rest: Rate,
    requests: Table,
    connections: Table,
    logins: Table,
    registrations: Table,
    refreshes: Table,
}

#[derive(Debug)]
struct Table {
    rate: Rate,
    buckets: Mutex<LimitTable<RandomState>>,
}

impl Limits {
    pub fn new(config: &Config) -> Limits {
        let table = |rate| Table {
            rate,
            buckets: Mutex::new(LimitTable::new(config.limit_table_max, RandomState::default())),
        };
        Limits {
            enabled: config.rate_limit,
            user_rest: config.user_rest_rate,
            requests: table(config.address_rest_rate),
            connections: table(config.address_connect_rate),
            logins: table(config.login_rate),
            registrations: table(config.register_rate),
            refreshes: table(config.refresh_rate),
        }
    }

    /// A REST request of a user.
    pub fn check_user(&self, user: &UserRecord, now: Now) -> Result<(), u64> {
        if self.enabled { user.rest.check(self.user_rest, now) } else { Ok(()) }
    }

    /// A request of a stranger.
    pub fn check_request(&self, client: IpAddr, now: Now) -> Result<(), u64> {
        self.check(&self.requests, &AddressKey::from(client), now)
    }

    /// A new connection, before anything is read from it.
    pub fn check_connection(&self, client: IpAddr, now: Now) -> Result<(), u64> {
        self.check(&self.connections, &AddressKey::from(client), now)
    }

    /// A try to log in with the name of this key. Address and name together: nobody locks an account for others.
    pub fn check_login(&self, name_key: &str, client: IpAddr, now: Now) -> Result<(), u64> {
        self.check(&self.logins, &(AddressKey::from(client), name_key), now)
    }

    pub fn check_registration(&self, client: IpAddr, now: Now) -> Result<(), u64> {
        self.check(&self.registrations, &AddressKey::from(client), now)
    }

    /// A use of a refresh token.
    pub fn check_refresh(&self, session: SessionId, now: Now) -> Result<(), u64> {
        self.check(&self.refreshes, &session, now)
    }

    /// Each table's name, how many of its buckets are in use, and how many it has.
    pub(super) fn fills(&self, now: Now) -> [(&'static str, usize, usize); 5] {
        [
            ("limit_requests", &self.requests),
            ("limit_connections", &self.connections),
            ("limit_logins", &self.logins),
            ("limit_registrations", &self.registrations),
            ("limit_refreshes", &self.refreshes),
        ]
        .map(|(name, table)| {
            let buckets = table.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            (name, buckets.busy(now), buckets.capacity())
        })
    }

    fn check(&self, table: &Table, key: &impl Hash, now: Now) -> Result<(), u64> {
        if !self.enabled {
            return Ok(());
        }
        table.buckets.lock().unwrap_or_else(PoisonError::into_inner).check(key, table.rate, now)
    }
}
