//! Numbers as the databases keep them: signed, and small ones for the kinds of events, never given to another kind.

/// `EventKind::Message`
pub(crate) const MESSAGE: i64 = 1;
/// `EventKind::Edit`
pub(crate) const EDIT: i64 = 2;
/// `EventKind::Delete`
pub(crate) const DELETE: i64 = 3;

/// A number for a query or a column. What is larger than any that is stored finds nothing, as it should.
pub(crate) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
