//! Who has which role, and who waits for one.

use crate::types::{Connection, Role};

/// Milliseconds that a holder of a role has to answer a probe, while another client waits.
pub const PROBE_MS: u64 = 2000;

/// The connections of the clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Roles {
    /// The holder of each role.
    holders: [Option<Holder>; 2],
    /// Connections for which no role was free, in the order in which they came. Not empty only
    /// while both roles are held: one that waits gets the next role that becomes free, so the
    /// role that it wanted is not kept.
    waiting: Vec<Waiting>,
}

/// A connection that has a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    pub(crate) connection: Connection,
    /// Whether it has sent a number of its role.
    pub(crate) has_sent: bool,
    /// Time since which it sends other numbers than the missing one.
    pub(crate) missing_since: Option<u64>,
    /// Time at which the probe was sent that is not answered yet.
    probed_at: Option<u64>,
}

/// A connection that waits for a role or its refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Waiting {
    connection: Connection,
    /// Whether the holder of each role has shown since then that it is there.
    seen: [bool; 2],
}

impl Roles {
    pub(crate) const fn holder(&self, role: Role) -> Option<&Holder> {
        self.holders[role as usize].as_ref()
    }

    pub(crate) const fn holder_mut(&mut self, role: Role) -> Option<&mut Holder> {
        self.holders[role as usize].as_mut()
    }

    /// The role of a connection.
    pub(crate) fn role_of(&self, connection: Connection) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.holder(*role).is_some_and(|holder| holder.connection == connection))
    }

    /// Whether the connection has a role or waits for one.
    pub(crate) fn knows(&self, connection: Connection) -> bool {
        self.role_of(connection).is_some() || self.waiting.iter().any(|waiting| waiting.connection == connection)
    }

    /// A role that nobody has: the wanted one, or else the first one.
    pub(crate) fn free(&self, wanted: Option<Role>) -> Option<Role> {
        wanted.into_iter().chain(Role::ALL).find(|role| self.holder(*role).is_none())
    }

    /// The holders of both roles, if both are there.
    pub(crate) fn both(&self) -> Option<[Connection; 2]> {
        match self.holders {
            [Some(first), Some(second)] => Some([first.connection, second.connection]),
            _ => None,
        }
    }

    /// Gives a free role to a connection. Returns whether it has to be probed, because others
    /// wait: it may have waited itself, and be gone by now.
    pub(crate) fn give(&mut self, role: Role, connection: Connection, now: u64) -> bool {
        let is_probed = !self.waiting.is_empty();
        let probed_at = is_probed.then_some(now);
        for waiting in &mut self.waiting {
            waiting.seen[role as usize] = false;
        }
        self.holders[role as usize] = Some(Holder { connection, has_sent: false, missing_since: None, probed_at });
        is_probed
    }

    /// Takes a role from its holder. Returns the connection that has waited longest.
    pub(crate) fn take(&mut self, role: Role) -> Option<Connection> {
        self.holders[role as usize] = None;
        (!self.waiting.is_empty()).then(|| self.waiting.remove(0).connection)
    }

    /// The holders exchange their roles.
    pub(crate) fn exchange(&mut self) {
        self.holders.swap(0, 1);
        for waiting in &mut self.waiting {
            waiting.seen.swap(0, 1);
        }
    }

    /// Lets a connection wait. Returns the holders that have to be probed for it.
    pub(crate) fn wait(&mut self, connection: Connection, now: u64) -> Vec<Connection> {
        self.waiting.push(Waiting { connection, seen: [false; 2] });
        let unprobed = self.holders.iter_mut().flatten().filter(|holder| holder.probed_at.is_none());
        unprobed
            .map(|holder| {
                holder.probed_at = Some(now);
                holder.connection
            })
            .collect()
    }

    /// A holder has answered a probe.
    pub(crate) fn answered(&mut self, role: Role) {
        if let Some(holder) = self.holder_mut(role) {
            holder.probed_at = None;
        }
        for waiting in &mut self.waiting {
            waiting.seen[role as usize] = true;
        }
    }

    /// Removes and returns the connections for which both holders have shown that they are
    /// there.
    pub(crate) fn reject(&mut self) -> Vec<Connection> {
        let rejected = self.waiting.extract_if(.., |waiting| waiting.seen == [true; 2]);
        rejected.map(|waiting| waiting.connection).collect()
    }

    /// A connection that waited has ended.
    pub(crate) fn forget(&mut self, connection: Connection) {
        self.waiting.retain(|waiting| waiting.connection != connection);
    }

    /// A holder whose probe is not answered in time.
    pub(crate) fn silent(&self, now: u64) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.holder(*role).and_then(Holder::silent_at).is_some_and(|at| at <= now))
    }
}

impl Holder {
    /// Time at which the holder counts as silent.
    pub(crate) const fn silent_at(&self) -> Option<u64> {
        match self.probed_at {
            Some(at) => Some(at.saturating_add(PROBE_MS)),
            None => None,
        }
    }
}
