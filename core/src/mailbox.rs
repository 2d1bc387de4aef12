//! Bounded mailboxes between actors, with a wake-up for those that sleep in a poll.
//!
//! A `Sender` never allocates beyond the capacity it was made with. Lanes, workers, readers and hashers block on their
//! `Receiver`; a reactor sleeps in its poll instead and is woken once for any number of mails that wait. `Post` holds one
//! sender for every mailbox of a node and finds the right one for an `Effect`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, TrySendError};

use crate::id::{ReactorId, RoomId};
use crate::mail::{Effect, HasherMail, LaneMail, ReactorMail, ReaderMail, WorkerMail};

/// A mailbox for at most `capacity` mails whose receiver blocks in it.
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    make(capacity, None)
}

/// A mailbox whose receiver sleeps elsewhere: `wake` ends that sleep, from any thread.
pub fn mailbox_with_wake<T>(
    capacity: usize,
    wake: impl Fn() + Send + Sync + 'static,
) -> (Sender<T>, Receiver<T>) {
    make(capacity, Some(Arc::new(Bell { rung: AtomicBool::new(false), wake: Box::new(wake) })))
}

fn make<T>(capacity: usize, bell: Option<Arc<Bell>>) -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = crossbeam_channel::bounded(capacity);
    (Sender { tx, bell: bell.clone() }, Receiver { rx, bell })
}

/// The sending end.
pub struct Sender<T> {
    tx: crossbeam_channel::Sender<T>,
    bell: Option<Arc<Bell>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { tx: self.tx.clone(), bell: self.bell.clone() }
    }
}

impl<T> Sender<T> {
    /// Put a mail in at once, or give it back when the mailbox is full or its owner is gone.
    pub fn try_send(&self, mail: T) -> Result<(), T> {
        match self.tx.try_send(mail) {
            Ok(()) => {
                self.ring();
                Ok(())
            }
            Err(TrySendError::Full(mail) | TrySendError::Disconnected(mail)) => Err(mail),
        }
    }

    /// Wait for a place. An owner that is gone (the process ends) lets the mail go with it.
    pub fn send(&self, mail: T) {
        if self.tx.send(mail).is_ok() {
            self.ring();
        }
    }

    /// Mails that wait.
    pub fn len(&self) -> usize {
        self.tx.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tx.is_empty()
    }

    /// Mails that there is room for in all.
    pub fn capacity(&self) -> usize {
        self.tx.capacity().unwrap_or(0)
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell
            && !bell.rung.swap(true, Ordering::AcqRel)
        {
            (bell.wake)();
        }
    }
}

/// The receiving end, owned by one actor (or shared by a pool of equal threads).
pub struct Receiver<T> {
    rx: crossbeam_channel::Receiver<T>,
    bell: Option<Arc<Bell>>,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver { rx: self.rx.clone(), bell: self.bell.clone() }
    }
}

/// What a blocking receive found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    Mail(T),
    Timeout,
    /// Every sender is gone: the node ends.
    Closed,
}

impl<T> Receiver<T> {
    /// Call before draining with [`Receiver::try_recv`]: mails sent from now on ring the bell again.
    pub fn begin_drain(&self) {
        if let Some(bell) = &self.bell {
            bell.rung.store(false, Ordering::Release);
            // The drain that follows must not be moved before the store, or a mail could lie there with nobody awake.
            std::sync::atomic::fence(Ordering::SeqCst);
        }
    }

    /// The next mail that waits, if one does.
    pub fn try_recv(&self) -> Option<T> {
        self.rx.try_recv().ok()
    }

    /// Block for the next mail, `timeout` at most.
    pub fn recv(&self, timeout: Option<Duration>) -> Received<T> {
        match timeout {
            Some(timeout) => match self.rx.recv_timeout(timeout) {
                Ok(mail) => Received::Mail(mail),
                Err(RecvTimeoutError::Timeout) => Received::Timeout,
                Err(RecvTimeoutError::Disconnected) => Received::Closed,
            },
            None => self.rx.recv().map_or(Received::Closed, Received::Mail),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rx.is_empty()
    }
}

/// Rung by the first mail after a drain began, so that a burst costs one wake-up.
struct Bell {
    rung: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// A sender for every mailbox of the node.
#[derive(Clone)]
pub struct Post {
    pub reactors: Vec<Sender<ReactorMail>>,
    pub workers: Vec<Sender<WorkerMail>>,
    pub lanes: Vec<Sender<LaneMail>>,
    pub readers: Sender<ReaderMail>,
    pub hashers: Sender<HasherMail>,
}

impl Post {
    /// Deliver at once, or give the effect back: the one way for a reactor, which never waits.
    #[expect(
        clippy::result_large_err,
        reason = "the error is the effect itself, handed back to be kept or answered"
    )]
    pub fn try_post(&self, effect: Effect) -> Result<(), Effect> {
        match effect {
            Effect::Reactor(to, mail) => match self.reactor(to) {
                Some(tx) => tx.try_send(mail).map_err(|mail| Effect::Reactor(to, mail)),
                None => Ok(()),
            },
            Effect::Worker(room, mail) => self.workers[share(room, self.workers.len())]
                .try_send(mail)
                .map_err(|mail| Effect::Worker(room, mail)),
            Effect::Lane(room, mail) => self.lanes[lane_index(room, self.lanes.len())]
                .try_send(mail)
                .map_err(|mail| Effect::Lane(room, mail)),
            Effect::Reader(mail) => self.readers.try_send(mail).map_err(Effect::Reader),
            Effect::Hasher(mail) => self.hashers.try_send(mail).map_err(Effect::Hasher),
        }
    }

    /// Deliver, waiting for a place: for lanes and workers towards reactors, and for lanes towards workers.
    pub fn post(&self, effect: Effect) {
        match effect {
            Effect::Reactor(to, mail) => {
                if let Some(tx) = self.reactor(to) {
                    tx.send(mail);
                }
            }
            Effect::Worker(room, mail) => self.workers[share(room, self.workers.len())].send(mail),
            Effect::Lane(room, mail) => self.lanes[lane_index(room, self.lanes.len())].send(mail),
            Effect::Reader(mail) => self.readers.send(mail),
            Effect::Hasher(mail) => self.hashers.send(mail),
        }
    }

    fn reactor(&self, id: ReactorId) -> Option<&Sender<ReactorMail>> {
        self.reactors.get(usize::from(id.0))
    }
}

/// Which of `of` equal actors a room belongs to. Consecutive ids are spread by a multiplicative hash (Knuth, TAOCP 6.4).
pub fn share(room: RoomId, of: usize) -> usize {
    let hash = room.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    usize::try_from(hash).unwrap_or(0) % of.max(1)
}

fn lane_index(room: Option<RoomId>, of: usize) -> usize {
    room.map_or(0, |room| share(room, of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_full_mailbox_gives_the_mail_back() {
        let (tx, rx) = mailbox(1);
        assert_eq!(tx.try_send(1), Ok(()));
        assert_eq!(tx.try_send(2), Err(2));
        assert_eq!(rx.try_recv(), Some(1));
        assert_eq!(tx.try_send(3), Ok(()));
    }

    #[test]
    fn a_burst_wakes_once_until_the_next_drain() {
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&woken);
        let (tx, rx) = mailbox_with_wake(8, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        tx.send(1);
        tx.send(2);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        rx.begin_drain();
        assert_eq!((rx.try_recv(), rx.try_recv(), rx.try_recv()), (Some(1), Some(2), None));
        tx.send(3);
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn consecutive_rooms_are_spread() {
        let mut counts = [0; 4];
        for id in 1..=400 {
            counts[share(RoomId::new(id).unwrap(), 4)] += 1;
        }
        assert!(counts.iter().all(|&n| n > 60), "{counts:?}");
    }
}
