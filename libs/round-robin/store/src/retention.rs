//! Which messages are old enough to be deleted.

use round_robin_core::types::ClientRow;

use crate::rows::ServedRange;

/// Most messages of one client that are deleted at a time.
pub(crate) const MESSAGES: i64 = 1000;

/// Most clients whose messages are deleted at a time.
pub(crate) const CLIENTS: u32 = 100;

/// Most turns that are deleted at a time.
pub(crate) const TURNS: u32 = 10_000;

/// The latest times at which messages were served that are old enough to be deleted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// Of messages that their client acknowledged.
    pub(crate) acknowledged: i64,
    /// Of the others.
    pub(crate) unacknowledged: i64,
}

/// The first counter of a client that is kept after those that are old were deleted. `served` are the
/// ranges that were served, in order, from that of `client.kept` on.
pub(crate) fn first_kept(client: &ClientRow, served: &[ServedRange], before: Before) -> i64 {
    let end = (client.kept + MESSAGES).min(client.next - 1);
    let young = served.iter().find_map(|range| first_young(client, range, before));
    let kept = young.map_or(end, |young| young.min(end));
    // The messages 0 and 1 are deleted together.
    if kept <= 1 { client.kept } else { kept.max(client.kept) }
}

/// The first message of `range` that is not old enough.
fn first_young(client: &ClientRow, range: &ServedRange, before: Before) -> Option<i64> {
    let first = range.first_counter.max(client.kept);
    let first_unacknowledged = first.max(client.acknowledged + 1);
    if range.served_at >= before.acknowledged && first < first_unacknowledged {
        return Some(first);
    }
    (range.served_at >= before.unacknowledged && first_unacknowledged <= range.last_counter)
        .then_some(first_unacknowledged)
}
