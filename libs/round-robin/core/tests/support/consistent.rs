//! The invariants of the tables.

use round_robin_core::tables::Tables;
use round_robin_core::types::{ClientRow, WINDOW};

/// Whether the rows of all clients agree with their messages.
pub(crate) fn is_consistent(tables: &Tables) -> bool {
    let of_known = |(client, _): &(_, i64)| tables.clients.contains_key(client);
    tables.clients.values().all(|row| is_right(tables, row)) && tables.messages.keys().all(of_known)
}

fn is_right(tables: &Tables, row: &ClientRow) -> bool {
    let message = |counter| tables.messages.get(&(row.id.clone(), counter));
    let of_client = tables.messages.range((row.id.clone(), i64::MIN)..=(row.id.clone(), i64::MAX));
    let counters: Vec<i64> = of_client.map(|((_, counter), _)| *counter).collect();
    let is_allowed = |counter: &i64| {
        let is_above = *counter > row.missing && *counter <= row.missing + WINDOW;
        (row.kept..row.missing).contains(counter) || is_above
    };
    row.kept <= row.next
        && row.next <= row.missing
        && (row.kept..row.missing).all(|counter| message(counter).is_some())
        && counters.iter().all(is_allowed)
        && counters
            .iter()
            .all(|counter| message(*counter).is_some_and(|row_of| row_of.served.is_some() == (*counter < row.next)))
        && row.last_received >= counters.last().copied().unwrap_or(-1)
        && row.acknowledged < row.next.max(0)
        && (!row.is_new() || row.acknowledged == -1)
}
