//! The thread around a `Reactor`: the poll, the wake-up, the listeners, the clock, the mailbox. Nothing else.
//!
//! One turn: poll, accept, hand over edges, drain the mail, let the reactor work, deliver what it wants. Sockets accepted
//! here are dealt to the reactor with the fewest connections.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chatroom_core::api::Port;
use chatroom_core::mail::{Effect, ReactorMail};
use chatroom_core::mailbox::{Post, Receiver, Sender};
use chatroom_core::time::Now;
use mio::{Events, Poll, Registry, Token, Waker};

use crate::reactor::Reactor;
use crate::stream::{Listener, Peer, Stream};

/// The clock of the real drivers.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the drivers' clock begins")]
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the drivers read the clock")]
    pub fn now(&self) -> Now {
        let mono_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wall_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Now { mono_ms, wall_ms }
    }
}

/// A socket on its way to its reactor.
pub struct Accepted<S> {
    pub stream: S,
    pub peer: Peer,
    pub port: Port,
}

/// What the accepting reactor knows of one of them all, itself included.
pub struct Hand<S> {
    pub sockets: Sender<Accepted<S>>,
    /// Connections that this reactor has, or is about to have.
    pub load: Arc<AtomicUsize>,
}

/// A listener and where its connections belong.
pub struct Door<L> {
    pub listener: L,
    pub port: Port,
}

/// Everything that one reactor thread owns.
pub struct Driver<L: Listener> {
    pub reactor: Reactor<L::Stream>,
    pub poll: Poll,
    pub clock: Clock,
    pub mail: Receiver<ReactorMail>,
    pub sockets: Receiver<Accepted<L::Stream>>,
    pub post: Post,
    /// The listeners, on the accepting reactor; empty on the others.
    pub doors: Vec<Door<L>>,
    /// All reactors, on the accepting one.
    pub hands: Vec<Hand<L::Stream>>,
    pub load: Arc<AtomicUsize>,
    /// `CONNECTIONS_MAX`, over all reactors.
    pub connections_max: usize,
}

/// The token of the wake-up; listeners count down from it, slots up from 0.
const WAKE: Token = Token(usize::MAX);
const EVENTS_A_POLL: usize = 1024;
/// Mails taken in one turn: a reactor never starves its sockets, and the senders wait meanwhile.
const MAILS_A_TURN: usize = 1024;
/// Sockets accepted in one turn.
const ACCEPTS_A_TURN: usize = 128;
/// Out of descriptors or at the connection limit: try again after this time, without an edge to wake us.
const ACCEPT_PAUSE_MS: u64 = 100;
/// How long the last answers of a draining server may take once nobody needs it any more.
const IDLE_POLL_MS: u64 = 1000;

/// A waker for a poll, for the mailbox of its reactor.
pub fn waker(registry: &Registry) -> io::Result<impl Fn() + Send + Sync + 'static> {
    let waker = Waker::new(registry, WAKE)?;
    Ok(move || {
        // Fails only when the poll is gone, and with it whoever could be woken.
        let _ = waker.wake();
    })
}

impl<L: Listener> Driver<L> {
    /// Run until the reactor is drained or `deadline_ms` after the drain began has passed.
    pub fn run(mut self, drain_ms: u64) -> io::Result<()> {
        for (index, door) in self.doors.iter_mut().enumerate() {
            door.listener.register(Some(self.poll.registry()), door_token(index))?;
        }
        let mut events = Events::with_capacity(EVENTS_A_POLL);
        let mut out: Vec<Effect> = Vec::new();
        // Every listener may have connections from before it was registered.
        let mut accept_at_ms = Some(0);
        let mut drain_until_ms = None;
        loop {
            let now = self.clock.now();
            let timeout = self.timeout(now, accept_at_ms, drain_until_ms);
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let now = self.clock.now();
            for event in &events {
                let token = event.token();
                if token == WAKE {
                    continue;
                }
                if self.door_of(token).is_some() {
                    accept_at_ms = Some(now.mono_ms);
                } else if let Ok(slot) = u32::try_from(token.0) {
                    let hung_up = event.is_read_closed() || event.is_error();
                    self.reactor.handle_ready(slot, event.is_readable(), event.is_writable(), hung_up);
                }
            }
            if accept_at_ms.is_some_and(|at| at <= now.mono_ms) {
                accept_at_ms = self.accept().map(|pause_ms| now.after_ms(pause_ms));
            }
            self.take_sockets(now, &mut out);
            if self.take_mail(now, &mut out) && drain_until_ms.is_none() {
                // Nobody new comes in; who is inside is seen off.
                self.doors.clear();
                drain_until_ms = Some(now.after_ms(drain_ms));
            }
            if self.reactor.next_timeout(now).is_some_and(|at| at <= now.mono_ms) {
                self.reactor.handle_timeout(now, &mut out);
            }
            self.reactor.turn(now, &mut out);
            self.deliver(now, &mut out);
            self.load.store(self.reactor.connections(), Ordering::Relaxed);
            if drain_until_ms.is_some_and(|until| self.reactor.is_drained() || now.mono_ms >= until) {
                return Ok(());
            }
        }
    }

    fn timeout(&self, now: Now, accept_at_ms: Option<u64>, drain_until_ms: Option<u64>) -> Option<Duration> {
        if self.reactor.has_work() || !self.mail.is_empty() || !self.sockets.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = [self.reactor.next_timeout(now), accept_at_ms, drain_until_ms].into_iter().flatten().min();
        next.map(|at| Duration::from_millis(at.saturating_sub(now.mono_ms).min(IDLE_POLL_MS)))
    }

    /// Accept what waits. `Some(ms)`: go on after this time, without waiting for an edge.
    fn accept(&mut self) -> Option<u64> {
        let mut again = None;
        for index in 0..self.doors.len() {
            for taken in 0.. {
                let connections: usize =
                    self.hands.iter().map(|hand| hand.load.load(Ordering::Relaxed)).sum();
                if connections >= self.connections_max {
                    return Some(ACCEPT_PAUSE_MS);
                }
                if taken >= ACCEPTS_A_TURN {
                    again = Some(0);
                    break;
                }
                match self.doors[index].listener.accept() {
                    Ok((stream, peer)) => self.deal(Accepted { stream, peer, port: self.doors[index].port }),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error)
                        if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                    Err(error) => {
                        // EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the backlog until there is room.
                        tracing::warn!(target: "chatroom::accept", %error, "cannot accept; new connections wait");
                        return Some(ACCEPT_PAUSE_MS);
                    }
                }
            }
        }
        again
    }

    /// To the reactor with the fewest connections.
    fn deal(&self, accepted: Accepted<L::Stream>) {
        let Some(hand) = self.hands.iter().min_by_key(|hand| hand.load.load(Ordering::Relaxed)) else {
            return;
        };
        hand.load.fetch_add(1, Ordering::Relaxed);
        if hand.sockets.try_send(accepted).is_err() {
            // Its mailbox is as large as the burst that one turn accepts; a reactor that far behind takes nobody in.
            hand.load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn take_sockets(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.sockets.begin_drain();
        while let Some(Accepted { stream, peer, port }) = self.sockets.try_recv() {
            let id = self.reactor.handle_accepted(stream, peer, port, now);
            let registry = self.poll.registry();
            let registered = self
                .reactor
                .stream(id)
                .map(|stream| stream.register(Some(registry), Token(id.slot as usize)));
            match registered {
                Some(Ok(())) => self.reactor.handle_ready(id.slot, true, false, false),
                Some(Err(_)) | None => self.reactor.abandon(id, out),
            }
        }
    }

    /// Whether the drain has begun.
    fn take_mail(&mut self, now: Now, out: &mut Vec<Effect>) -> bool {
        let mut drain = false;
        self.mail.begin_drain();
        for _ in 0..MAILS_A_TURN {
            let Some(mail) = self.mail.try_recv() else { break };
            drain |= matches!(mail, ReactorMail::Drain);
            self.reactor.handle_mail(mail, now, out);
        }
        drain
    }

    /// Hand over what the reactor wants; what finds no place goes back to it, and may make it want something else.
    fn deliver(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut refused = Vec::new();
        while !out.is_empty() {
            for effect in out.drain(..) {
                if let Err(effect) = self.post.try_post(effect) {
                    refused.push(effect);
                }
            }
            for effect in refused.drain(..) {
                self.reactor.handle_undelivered(effect, now, out);
            }
        }
    }

    fn door_of(&self, token: Token) -> Option<usize> {
        (0..self.doors.len()).find(|&index| door_token(index) == token)
    }
}

fn door_token(index: usize) -> Token {
    Token(usize::MAX - 1 - index)
}
