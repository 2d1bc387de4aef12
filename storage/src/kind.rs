//! The numbers that stand for the kinds of events in the databases. They are never given to another kind.

/// `EventKind::Message`
pub(crate) const MESSAGE: i64 = 1;
/// `EventKind::Edit`
pub(crate) const EDIT: i64 = 2;
/// `EventKind::Delete`
pub(crate) const DELETE: i64 = 3;
