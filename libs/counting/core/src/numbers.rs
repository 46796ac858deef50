//! Which numbers have come, which are stored, and who waits for an acknowledgement.

use std::collections::BTreeSet;

use crate::types::{Command, Connection, Reply, Role};

/// How far a number may be ahead of the last stored one.
pub const AHEAD: u64 = 1024;

/// Acknowledgements that may wait.
const REPLIES: usize = 4096;

/// The numbers that have come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Numbers {
    /// The last number that is durable.
    stored: u64,
    /// The last number of the [`Command::Store`] in progress.
    storing: Option<u64>,
    /// The first number of each role that has not come.
    next: [u64; 2],
    /// Numbers that have come although one of their role before them has not.
    beyond: BTreeSet<u64>,
    /// Who waits for the acknowledgement of which number.
    replies: BTreeSet<(u64, Connection, Reply)>,
}

/// What became of a number that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// It is durable already.
    Stored,
    /// It was the next one of its role.
    Next,
    /// It had come before, and is not durable yet.
    Again,
    /// One of its role before it is missing.
    Beyond,
    /// It is too far ahead, and was not taken in.
    TooFar,
    /// Too many acknowledgements wait. It was not taken in.
    TooMany,
}

impl Numbers {
    pub(crate) fn new(stored: u64) -> Self {
        let next = Role::ALL.map(|role| if role == Role::of(stored + 1) { stored + 1 } else { stored + 2 });
        Self { stored, storing: None, next, beyond: BTreeSet::new(), replies: BTreeSet::new() }
    }

    pub(crate) const fn stored(&self) -> u64 {
        self.stored
    }

    /// The first number of `role` that has not come.
    pub(crate) const fn next(&self, role: Role) -> u64 {
        self.next[role as usize]
    }

    /// The last number that would be taken in.
    pub(crate) const fn limit(&self) -> u64 {
        self.stored.saturating_add(AHEAD)
    }

    /// Takes in a number, at least 1, and who waits for its acknowledgement.
    pub(crate) fn come(&mut self, number: u64, waits: Option<(Connection, Reply)>) -> Came {
        if number <= self.stored {
            return Came::Stored;
        }
        if number > self.limit() {
            return Came::TooFar;
        }
        if let Some((connection, reply)) = waits {
            if self.replies.len() >= REPLIES {
                return Came::TooMany;
            }
            self.replies.insert((number, connection, reply));
        }
        let next = &mut self.next[Role::of(number) as usize];
        if number > *next {
            self.beyond.insert(number);
            return Came::Beyond;
        }
        if number < *next {
            return Came::Again;
        }
        *next += 2;
        while self.beyond.remove(next) {
            *next += 2;
        }
        Came::Next
    }

    /// Stores all numbers that have come without a gap, unless a command is in progress.
    pub(crate) fn store(&mut self) -> Option<Command> {
        (self.storing.is_none() && self.ready() > self.stored).then(|| self.store_again())
    }

    /// The same, even if there are none: shows whether storing works again.
    pub(crate) fn store_again(&mut self) -> Command {
        let last = self.ready();
        self.storing = Some(last);
        Command::Store(last)
    }

    pub(crate) const fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// The lines up to `last` are durable, and the command has ended. Returns the
    /// acknowledgements.
    pub(crate) fn end_store(&mut self, last: u64) -> impl Iterator<Item = Command> + use<> {
        self.storing = None;
        self.stored = self.stored.max(last);
        let later = self.replies.split_off(&(self.stored + 1, Connection(0), Reply(0)));
        let due = std::mem::replace(&mut self.replies, later);
        due.into_iter().map(|(number, to, reply)| Command::Acknowledge { to, reply, number })
    }

    /// Forgets the acknowledgements of a connection that has ended. Its numbers count.
    pub(crate) fn forget(&mut self, connection: Connection) {
        self.replies.retain(|(_, waits, _)| *waits != connection);
    }

    /// The last number up to which all have come.
    fn ready(&self) -> u64 {
        self.next[0].min(self.next[1]) - 1
    }
}
