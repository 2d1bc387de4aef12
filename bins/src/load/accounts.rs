//! `Accounts`: the users and rooms of a load. Who sends must exist in the database and is registered; who only reads needs
//! no more than a valid token, which is signed here when the server's secret is known.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use chatroom_core::event::User;
use chatroom_core::id::{SessionId, UserId};
use chatroom_core::text::Username;
use chatroom_core::token::Keys;
use chatroom_transports::poll;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::rest::{Account, Rest, Room};

pub(super) struct Accounts {
    rest: Rest,
    keys: Option<Keys>,
    rng: ChaCha8Rng,
    clock: poll::Clock,
    /// In all names of this run, so that runs on one database do not meet.
    run: String,
    made: u64,
}

/// Signed users have ids far from those that a database gives out.
const SIGNED_IDS_FROM: u64 = 1 << 44;
/// A token outlives every run.
const LIFE_S: u64 = 6 * 3600;

impl Accounts {
    /// With `secret`, the server's `JWT_SECRET`, readers are signed; without it they are registered too.
    pub(super) fn new(address: SocketAddr, secret: Option<&str>) -> Result<Accounts> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("the system gives no random bytes")?;
        let mut rng = ChaCha8Rng::from_seed(seed);
        let run = format!("{:06x}", rng.next_u32() & 0x00ff_ffff);
        let keys = secret.map(|secret| Keys::new(secret.as_bytes(), &[]));
        Ok(Accounts { rest: Rest::new(address), keys, rng, clock: poll::Clock::start(), run, made: 0 })
    }

    /// A user that may send.
    pub(super) fn sender(&mut self) -> Result<Account> {
        let name = self.name("s");
        self.rest.register(&name)
    }

    /// A user that only reads.
    pub(super) fn reader(&mut self) -> Result<Account> {
        let name = self.name("r");
        let Some(keys) = &self.keys else { return self.rest.register(&name) };
        let id = SIGNED_IDS_FROM + (u64::from(self.rng.next_u32()) << 16) % (1 << 40) + self.made;
        let (user, session) = UserId::new(id).zip(SessionId::new(id)).context("ids end at 2^53")?;
        let user = Arc::new(User { id: user, name: Username::stored(name) });
        let token = keys.sign(&user, session, LIFE_S, self.clock.now(), &mut self.rng);
        Ok(Account { id, token })
    }

    pub(super) fn room(&mut self, by: &Account) -> Result<Room> {
        let name = self.name("room");
        self.rest.create_room(by, &name)
    }

    pub(super) fn rest(&mut self) -> &mut Rest {
        &mut self.rest
    }

    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("load-{}-{kind}{}", self.run, self.made)
    }
}
