//! Replays the commit-ordered history of the round robin system, and checks each change against
//! the rules of the system.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use anyhow::{Context, Result};
use round_robin_core::turns::Quantum;
use round_robin_core::types::Turn;

use super::rows::{ClientRow, Message, ServedRange, TurnRow};
use crate::oracle::binlog::{Change, Event, Transaction};
use crate::oracle::cases::Cases;
use crate::oracle::layout::Layout;

/// Violations and counts of a replayed history.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Messages that were marked as served while the latest row of `turns` named another replica or
    /// another turn, or none.
    pub(crate) outside: Cases,
    /// Turns in which two replicas served, or whose row named two replicas.
    pub(crate) shared_turns: Cases,
    /// Messages that were marked as served more than once.
    pub(crate) twice: Cases,
    /// Ranges of messages that were served before an earlier one of their client: a gap.
    pub(crate) gaps: Cases,
    /// Ranges of messages that were served after a later one of their client.
    pub(crate) disorder: Cases,
    /// Messages that were served and not stored.
    pub(crate) unknown: Cases,
    /// Changes and deletions of rows that hold messages, or that say which replica served them and when.
    pub(crate) changed: Cases,
    /// Changes whose old values differ from the values that the previous change left.
    pub(crate) torn: Cases,
    /// Commits that left a client's row with another position than its messages have.
    pub(crate) positions: Cases,
    /// Commits that left a turn with another number of messages than were served in it.
    pub(crate) tallies: Cases,
    /// Epochs of clients that went back.
    pub(crate) epochs: Cases,
    /// Turns whose row was added after that of a later turn. Nobody can serve in them, so they do no
    /// harm.
    pub(crate) turns_back: Cases,
    /// Number of transactions.
    pub(crate) transactions: u64,
    /// Number of transactions that stored messages.
    pub(crate) intakes: u64,
    /// Number of messages that they stored.
    pub(crate) stored: u64,
    /// Number of transactions that served messages.
    pub(crate) servings: u64,
    /// Number of ranges that they served.
    pub(crate) ranges: u64,
    /// Number of messages that they served.
    pub(crate) served: u64,
}

/// A turn.
#[derive(Debug)]
pub(crate) struct TurnHistory {
    /// The name of the replica.
    pub(crate) name: Arc<str>,
    /// Number of messages that were served while this was the latest turn.
    pub(crate) served: u64,
    /// Whether a message could be served while this was the latest turn.
    pub(crate) had_work: bool,
    /// The number of messages according to the row.
    counted: i64,
}

/// The messages of a client.
#[derive(Debug)]
struct Client {
    messages: BTreeMap<i64, Message>,
    /// The next counter to serve.
    next: i64,
    /// The lowest counter from `next` on that is not stored.
    missing: i64,
    epoch: i64,
}

impl Default for Client {
    fn default() -> Self {
        Self { messages: BTreeMap::new(), next: 1, missing: 1, epoch: 0 }
    }
}

/// State of the tables after some commit, and the findings up to it.
#[derive(Debug)]
pub(crate) struct History {
    layout: Layout,
    quantum: Quantum,
    turns: BTreeMap<i64, TurnHistory>,
    /// The latest turn.
    latest: Option<i64>,
    /// The replica that served in each turn, by the times at which it served.
    served_in: BTreeMap<i64, Arc<str>>,
    clients: BTreeMap<String, Client>,
    /// Number of messages that can be served.
    servable: i64,
    findings: Findings,
}

/// Changes made by one transaction.
#[derive(Debug, Default)]
struct Done {
    /// First and last counters of the messages that it served, by client. In one transaction, the
    /// order of rows means nothing.
    served: BTreeMap<String, Vec<(i64, i64)>>,
    stored: u64,
    /// Rows of clients that it wrote.
    clients: BTreeMap<String, ClientRow>,
}

impl History {
    /// Creates a history without transactions.
    pub(crate) fn new(layout: Layout, quantum: Quantum) -> Self {
        Self {
            layout,
            quantum,
            turns: BTreeMap::new(),
            latest: None,
            served_in: BTreeMap::new(),
            clients: BTreeMap::new(),
            servable: 0,
            findings: Findings::default(),
        }
    }

    /// Replays one transaction.
    pub(crate) fn apply(&mut self, transaction: &Transaction) -> Result<()> {
        self.findings.transactions += 1;
        let mut done = Done::default();
        for event in transaction {
            self.event(event, &mut done).with_context(|| format!("{event:?}"))?;
        }
        self.findings.servings += u64::from(!done.served.is_empty());
        for (client, mut ranges) in done.served {
            ranges.sort_unstable();
            self.check_order(&client, &ranges);
        }
        self.findings.intakes += u64::from(done.stored > 0);
        self.findings.stored += done.stored;
        for (client, row) in done.clients {
            self.check_position(&client, row);
        }
        if let Some(turn) = self.latest.and_then(|latest| self.turns.get_mut(&latest)) {
            turn.had_work |= self.servable > 0;
            if u64::try_from(turn.counted).ok() != Some(turn.served) {
                let (turn, transaction) = (format!("{turn:?}"), self.findings.transactions);
                self.findings.tallies.add(|| format!("transaction {transaction}: {turn}"));
            }
        }
        Ok(())
    }

    /// All turns.
    pub(crate) const fn turns(&self) -> &BTreeMap<i64, TurnHistory> {
        &self.turns
    }

    /// The findings.
    pub(crate) const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// All messages, each with its client.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&str, &Message)> {
        self.clients
            .iter()
            .flat_map(|(client, row)| row.messages.values().map(move |message| (client.as_str(), message)))
    }

    fn event(&mut self, event: &Event, done: &mut Done) -> Result<()> {
        match (event.table.as_str(), &event.change) {
            ("turns", Change::Insert(new)) => self.turn_began(&self.layout.turn(new)?),
            ("turns", Change::Update(old, new)) => {
                self.turn_changed(&self.layout.turn(old)?, &self.layout.turn(new)?);
            }
            ("received_messages", Change::Insert(new)) => {
                let (client, message) = self.layout.message(new)?;
                done.stored += 1;
                self.stored(client, message);
            }
            ("served_ranges", Change::Insert(new)) => {
                let (client, range) = self.layout.served_range(new)?;
                self.served(&client, &range);
                done.served.entry(client).or_default().push((range.first, range.last));
            }
            ("received_messages" | "served_ranges", change) => {
                self.findings.changed.add(|| format!("{change:?}"));
            }
            ("clients", Change::Insert(new) | Change::Update(_, new)) => {
                let (client, row) = self.layout.client(new)?;
                done.clients.insert(client, row);
            }
            _ => {}
        }
        Ok(())
    }

    fn turn_began(&mut self, row: &TurnRow) {
        match self.latest {
            Some(latest) if latest >= row.turn => self.findings.turns_back.add(|| format!("{row:?} after {latest}")),
            _ => self.latest = Some(row.turn),
        }
        let turn = TurnHistory {
            name: Arc::from(row.name.as_str()),
            served: 0,
            had_work: self.servable > 0,
            counted: row.served,
        };
        if let Some(before) = self.turns.insert(row.turn, turn) {
            self.findings.shared_turns.add(|| format!("{before:?}, then {row:?}"));
        }
    }

    fn turn_changed(&mut self, old: &TurnRow, new: &TurnRow) {
        let change = || format!("{old:?} to {new:?}");
        if (old.turn, old.replica, &old.name) != (new.turn, new.replica, &new.name) {
            self.findings.shared_turns.add(change);
        }
        match self.turns.get_mut(&new.turn) {
            Some(turn) if turn.counted == old.served => turn.counted = new.served,
            _ => self.findings.torn.add(change),
        }
    }

    fn stored(&mut self, name: String, message: Message) {
        let client = self.clients.entry(name).or_default();
        let before = client.missing - client.next;
        if message.counter == 0 && client.next == 1 {
            // The first message of a client may have this counter.
            client.next = 0;
        }
        match client.messages.entry(message.counter) {
            Entry::Vacant(place) => {
                place.insert(message);
            }
            Entry::Occupied(mut stored) => {
                let (old, new) = (format!("{:?}", stored.get()), format!("{message:?}"));
                self.findings.torn.add(|| format!("stored twice: {old}, {new}"));
                stored.insert(message);
            }
        }
        while client.messages.contains_key(&client.missing) {
            client.missing += 1;
        }
        self.servable += client.missing - client.next - before;
    }

    /// Checks that a replica serves in its turn, and marks the messages.
    fn served(&mut self, name: &str, range: &ServedRange) {
        let found = &mut self.findings;
        let case = || format!("{name}: {range:?}");
        let Turn(turn) = self.quantum.turn_at(range.served.at);
        match self.latest.and_then(|latest| Some((latest, self.turns.get_mut(&latest)?))) {
            Some((latest, row)) => {
                row.served += range.count();
                if latest != turn || latest != range.turn || *row.name != *range.served.replica {
                    found.outside.add(|| format!("in turn {latest} of {}: {}", row.name, case()));
                }
            }
            None => found.outside.add(case),
        }
        let first = self.served_in.entry(turn).or_insert_with(|| Arc::clone(&range.served.replica));
        if *first != range.served.replica {
            found.shared_turns.add(|| format!("{first} served in turn {turn}, and {}", case()));
        }
        let client = self.clients.entry(name.to_owned()).or_default();
        for counter in range.first..=range.last {
            let Some(message) = client.messages.get_mut(&counter) else {
                found.unknown.add(|| format!("{counter} of {}", case()));
                continue;
            };
            if let Some(before) = &message.served {
                found.twice.add(|| format!("{counter} of {}, before: {before:?}", case()));
            }
            message.served = Some(range.served.clone());
        }
    }

    /// Checks that a transaction serves the next messages of a client.
    fn check_order(&mut self, name: &str, ranges: &[(i64, i64)]) {
        let found = &mut self.findings;
        let Some(client) = self.clients.get_mut(name) else { return };
        for (first, last) in ranges {
            found.ranges += 1;
            found.served += (last - first + 1).unsigned_abs();
            let expected = client.next;
            let case = || format!("{name}: {first} to {last} in place of {expected}");
            match first.cmp(&expected) {
                std::cmp::Ordering::Less => found.disorder.add(case),
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => found.gaps.add(case),
            }
            let next = client.next.max(last + 1);
            // What was left out cannot be served any more.
            self.servable -= next - client.next;
            client.next = next;
        }
        let missing = client.missing.max(client.next);
        self.servable += missing - client.missing;
        client.missing = missing;
    }

    fn check_position(&mut self, name: &str, row: ClientRow) {
        let client = self.clients.entry(name.to_owned()).or_default();
        let transaction = self.findings.transactions;
        if (row.next, row.missing) != (client.next, client.missing) {
            let (next, missing) = (client.next, client.missing);
            let case = || format!("transaction {transaction}: {name} has {row:?} with next {next}, missing {missing}");
            self.findings.positions.add(case);
        }
        if row.epoch < client.epoch {
            let before = client.epoch;
            self.findings.epochs.add(|| format!("transaction {transaction}: {name} from {before} to {}", row.epoch));
        }
        client.epoch = row.epoch;
    }
}

#[cfg(test)]
mod tests;
