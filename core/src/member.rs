//! `Membership`: a connection's place in one room, from the wish to join to live delivery.
//!
//! The states of DESIGN.md 4: a connection joins, catches up, and is a member that passes serve; a slow one falls back to
//! catching up. What is owed to it (`joined`, presence `sync`, a page) is a mark here and becomes bytes when its socket
//! has room for them.

use std::sync::Arc;

use crate::frame::{Frame, Page};
use crate::id::{RequestId, RoomId, Seq};
use crate::mail::Since;
use crate::view::Profile;
use crate::wire::NoResume;

#[derive(Debug)]
pub struct Membership {
    pub room: RoomId,
    pub at: At,
}

#[derive(Debug)]
pub enum At {
    /// Asked of the room worker, or about to be.
    Joining(Box<Joining>),
    CatchingUp(Box<CatchUp>),
    /// Served by passes: the reactor's view, and the member's index in it.
    Live {
        view: u32,
        member: u32,
    },
}

/// A join that has no answer yet.
#[derive(Debug)]
pub struct Joining {
    pub request: Option<RequestId>,
    pub since: Option<Since>,
    pub wants_presence: bool,
    pub wants_typing: bool,
    /// The connection was in the room when it asked.
    pub again: bool,
    /// Tells the answer to this join from that to an earlier one. `None`: not yet asked.
    pub tag: Option<u32>,
}

impl Joining {
    /// What the answer needs of it.
    pub fn asked(&self) -> Asked {
        Asked {
            request: self.request,
            wants_presence: self.wants_presence,
            wants_typing: self.wants_typing,
            again: self.again,
        }
    }
}

/// A join in short, see [`Joining`].
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub request: Option<RequestId>,
    pub wants_presence: bool,
    pub wants_typing: bool,
    pub again: bool,
}

/// What a connection must still get before passes serve it.
#[derive(Debug)]
pub struct CatchUp {
    pub profile: Profile,
    /// `joined` is owed.
    pub hello: Option<Hello>,
    /// The page being written, and how many of its frames are out.
    pub page: Option<Arc<Page>>,
    pub written: usize,
    /// The last event that it has, or will have when the page is out.
    pub after: Seq,
    /// Owed behind the page.
    pub sync: Option<Arc<Frame>>,
    pub stand: Stand,
}

/// Where a connection that is catching up stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// What follows `after` is still to be asked for.
    Behind,
    /// Waits for its turn to ask.
    Queued,
    /// Asked for, with this tag.
    Asked(u32),
    /// A held member of the view: live once what is owed here is out.
    AtHead { view: u32, member: u32 },
}

/// The contents of a `joined` frame.
#[derive(Debug)]
pub struct Hello {
    pub request: Option<RequestId>,
    pub epoch: Arc<str>,
    pub seq: Seq,
    pub online: u32,
    pub resumed: Resumed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// `since` was not given.
    NotAsked,
    Yes {
        replay: u64,
    },
    No(NoResume),
}

impl CatchUp {
    /// Something can be written now.
    pub fn has_output(&self) -> bool {
        self.hello.is_some() || self.page.is_some() || self.sync.is_some()
    }
}
