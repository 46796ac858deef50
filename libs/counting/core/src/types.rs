//! The events that the server handles, and the commands that it gives.

use std::fmt;

/// A connection of a client. Numbers are never used again in the life of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection(pub u64);

/// An acknowledgement that a client expects. The number is unique within its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reply(pub u64);

/// Who counts which numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Counts the odd numbers, from 1.
    Client1,
    /// Counts the even numbers, from 2.
    Client2,
}

impl Role {
    /// Both roles, in the order in which they are handed out.
    pub const ALL: [Self; 2] = [Self::Client1, Self::Client2];

    /// The name of the role in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client1 => "client1",
            Self::Client2 => "client2",
        }
    }

    /// The role with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The role that counts `number`.
    #[must_use]
    pub const fn of(number: u64) -> Self {
        if number % 2 == 1 { Self::Client1 } else { Self::Client2 }
    }

    /// The role that counts the other numbers.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client1 => Self::Client2,
            Self::Client2 => Self::Client1,
        }
    }

    /// The first number of the role.
    #[must_use]
    pub const fn first(self) -> u64 {
        self as u64 + 1
    }

    /// The last number of the role up to `last`; 0 if none.
    #[must_use]
    pub const fn last_up_to(self, last: u64) -> u64 {
        if last < self.first() { 0 } else { last - (last - self.first()) % 2 }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A client has connected.
    Connected {
        /// The connection.
        connection: Connection,
        /// The role that the client would like to have. It gets another one if this one is not
        /// free.
        wanted: Option<Role>,
    },
    /// A connection has ended, or its client does not answer any more.
    Disconnected(Connection),
    /// A client has answered a probe, or has shown by another message that it is there.
    /// Changes nothing unless it has a role and others wait.
    Answered(Connection),
    /// A client has sent a number.
    Number {
        /// The connection.
        from: Connection,
        /// The role that the client names as its own.
        role: Role,
        /// The number.
        number: u64,
        /// The acknowledgement that the client expects.
        reply: Option<Reply>,
    },
    /// A client has sent an event that is not a number with a role.
    Malformed {
        /// The connection.
        from: Connection,
        /// The acknowledgement that the client expects.
        reply: Option<Reply>,
    },
    /// The lines up to this number are durable, which ends a [`Command::Store`].
    Stored(u64),
    /// A [`Command::Store`] has failed. The lines up to this number are durable.
    StoreFailed(u64),
    /// Nothing but time has passed. Due at [`Server::wake_at`](crate::Server::wake_at).
    Time,
}

/// What the caller has to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Send `client_assigned`, and accept the connection if it waits.
    Assign {
        /// The connection.
        to: Connection,
        /// Its role.
        role: Role,
        /// The last number of the role that is stored; 0 if none.
        last_number: u64,
    },
    /// Send `start_game`.
    Start(Connection),
    /// Send `stop_game`.
    Stop(Connection),
    /// Send a ping, and report the answer as [`Event::Answered`].
    Probe(Connection),
    /// Refuse a connection that waits: both roles are taken.
    Reject(Connection),
    /// End a connection that has, or had, a role.
    Disconnect {
        /// The connection.
        connection: Connection,
        /// Why.
        reason: Reason,
    },
    /// Acknowledge a number: it is durable.
    Acknowledge {
        /// The connection.
        to: Connection,
        /// The acknowledgement that the client expects.
        reply: Reply,
        /// The number.
        number: u64,
    },
    /// Answer that a number was not accepted. Nothing is sent to a client that does not expect
    /// an acknowledgement.
    Refuse {
        /// The connection.
        to: Connection,
        /// The acknowledgement that the client expects.
        reply: Option<Reply>,
        /// Why.
        refusal: Refusal,
    },
    /// Make the lines up to this number durable, and report [`Event::Stored`] or
    /// [`Event::StoreFailed`]. There is one such command at a time.
    Store(u64),
}

/// Why the server disconnects a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It did not answer a probe, and another client waits.
    Silent,
    /// This number did not come in time, but others of the client did.
    Missing(u64),
    /// It counts the numbers of this role, which another client counts.
    Taken(Role),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => write!(f, "no answer to a probe, and another client waits"),
            Self::Missing(number) => write!(f, "the number {number} is missing, and others came instead"),
            Self::Taken(role) => write!(f, "another client is {role}"),
        }
    }
}

/// Why the server does not accept a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The connection has no role.
    NoRole,
    /// The event is not a number with a role.
    Malformed,
    /// The number is not one of the role that the client names, or has named before.
    WrongNumber,
    /// The number is too far ahead of the stored ones. This is the last one that would be
    /// accepted.
    TooFar(u64),
    /// Too many acknowledgements wait.
    TooMany,
    /// The number is too far ahead, because lines cannot be stored.
    CannotStore,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRole => write!(f, "the connection has no role"),
            Self::Malformed => write!(f, "expected a client_id and a number"),
            Self::WrongNumber => write!(f, "the number is not one of this client"),
            Self::TooFar(last) => write!(f, "the number is too far ahead; the last one that can wait is {last}"),
            Self::TooMany => write!(f, "too many acknowledgements wait"),
            Self::CannotStore => write!(f, "numbers cannot be stored at the moment"),
        }
    }
}
