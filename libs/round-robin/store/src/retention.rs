//! Which messages are old enough to be deleted.

use round_robin_core::types::ClientRow;

use crate::rows::ServedRange;

/// Most messages of one client that are deleted at a time.
pub(crate) const MESSAGES: i64 = 1000;

/// Most clients whose messages are deleted at a time.
pub(crate) const CLIENTS: u32 = 100;

/// Most turns that are deleted at a time.
pub(crate) const TURNS: u32 = 10_000;

/// Milliseconds for which a turn is always kept: no replica may serve in a turn whose row is gone.
pub(crate) const TURN_MS: i64 = 60_000;

/// The latest times at which messages were served that are old enough to be deleted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// Of messages that their client acknowledged.
    pub(crate) acknowledged: i64,
    /// Of the others.
    pub(crate) unacknowledged: i64,
}

/// The first counter of a client that has to be kept. `served` are the ranges that were served, in
/// order, from that of `client.kept` on.
pub(crate) fn first_kept(client: &ClientRow, served: &[ServedRange], before: Before) -> i64 {
    let last = (client.kept + MESSAGES).min(client.next - 1);
    let mut kept = client.kept;
    for range in served {
        if range.served_at >= before.acknowledged && range.first_counter.max(kept) <= client.acknowledged {
            return range.first_counter.max(kept).min(last);
        }
        let first_unacknowledged = range.first_counter.max(kept).max(client.acknowledged + 1);
        if range.served_at >= before.unacknowledged && first_unacknowledged <= range.last_counter {
            return first_unacknowledged.min(last);
        }
        kept = kept.max(range.last_counter + 1);
    }
    last.max(client.kept)
}
