//! The state machine of the server.

use crate::numbers::{Came, Numbers};
use crate::roles::Roles;
use crate::types::{Command, Connection, Event, Reason, Refusal, Reply, Role};

/// Milliseconds for which a number may be missing while its client sends others.
pub const MISSING_MS: u64 = 5000;

/// Milliseconds between a failed attempt to store and the next one.
pub const RETRY_MS: u64 = 1000;

/// The server: its clients, and the numbers that they have sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    roles: Roles,
    numbers: Numbers,
    /// Whether [`Command::Start`] went to both clients, and no [`Command::Stop`] since.
    counting: bool,
    /// While lines cannot be stored: time of the next attempt.
    retry_at: Option<u64>,
}

impl Server {
    /// A server without clients. `stored` is the last number that is durable.
    #[must_use]
    pub fn new(stored: u64) -> Self {
        Self { roles: Roles::default(), numbers: Numbers::new(stored), counting: false, retry_at: None }
    }

    /// The last number that is durable; 0 if none.
    #[must_use]
    pub const fn stored(&self) -> u64 {
        self.numbers.stored()
    }

    /// The connection that has a role.
    #[must_use]
    pub fn holder(&self, role: Role) -> Option<Connection> {
        self.roles.holder(role).map(|holder| holder.connection)
    }

    /// Whether both clients are there and lines can be stored, so that counting runs.
    #[must_use]
    pub const fn is_counting(&self) -> bool {
        self.counting
    }

    /// Whether the last attempt to store lines has failed.
    #[must_use]
    pub const fn cannot_store(&self) -> bool {
        self.retry_at.is_some()
    }

    /// The time at which [`Event::Time`] is due, unless another event comes first.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let holders = Role::ALL.into_iter().filter_map(|role| self.roles.holder(role));
        let deadlines = holders.flat_map(|holder| {
            [holder.silent_at(), holder.missing_since.map(|since| since.saturating_add(MISSING_MS))]
        });
        let retry = self.retry_at.filter(|_| !self.numbers.is_storing());
        deadlines.chain([retry]).flatten().min()
    }

    /// Handles an event. `now` is in milliseconds of a clock that never steps back.
    pub fn step(&mut self, event: Event, now: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        let out = &mut commands;
        match event {
            Event::Connected { connection, wanted } => self.connected(connection, wanted, now, out),
            Event::Disconnected(connection) => self.disconnected(connection, now, out),
            Event::Answered(connection) => self.answered(connection),
            Event::Number { from, role, number, reply } => self.number(from, role, (number, reply), now, out),
            Event::Malformed { from, reply } => self.malformed(from, reply, now, out),
            Event::Stored(last) => {
                out.extend(self.numbers.end_store(last));
                self.retry_at = None;
            }
            Event::StoreFailed(last) => {
                out.extend(self.numbers.end_store(last));
                self.retry_at = Some(now.saturating_add(RETRY_MS));
                self.stop(out);
            }
            Event::Time => {}
        }
        self.drop_silent(now, out);
        self.drop_stuck(now, out);
        out.extend(self.roles.reject().into_iter().map(Command::Reject));
        self.store(now, out);
        self.start(out);
        commands
    }

    fn connected(&mut self, connection: Connection, wanted: Option<Role>, now: u64, out: &mut Vec<Command>) {
        if self.roles.knows(connection) {
            return;
        }
        match self.roles.free(wanted) {
            Some(role) => self.assign(role, connection, now, out),
            None => out.extend(self.roles.wait(connection, now).into_iter().map(Command::Probe)),
        }
    }

    fn disconnected(&mut self, connection: Connection, now: u64, out: &mut Vec<Command>) {
        match self.roles.role_of(connection) {
            Some(role) => self.leave(role, now, out),
            None => self.roles.forget(connection),
        }
    }

    fn answered(&mut self, connection: Connection) {
        if let Some(role) = self.roles.role_of(connection) {
            self.roles.answered(role);
        }
    }

    fn assign(&mut self, role: Role, connection: Connection, now: u64, out: &mut Vec<Command>) {
        let is_probed = self.roles.give(role, connection, now);
        self.tell_role(role, out);
        out.extend(is_probed.then_some(Command::Probe(connection)));
    }

    fn tell_role(&self, role: Role, out: &mut Vec<Command>) {
        let last_number = role.last_up_to(self.stored());
        out.extend(self.holder(role).map(|to| Command::Assign { to, role, last_number }));
    }

    /// Takes a role from its holder, and gives it to the connection that has waited longest.
    fn leave(&mut self, role: Role, now: u64, out: &mut Vec<Command>) {
        if let Some(connection) = self.holder(role) {
            self.numbers.forget(connection);
        }
        let successor = self.roles.take(role);
        self.stop(out);
        if let Some(connection) = successor {
            self.assign(role, connection, now, out);
        }
    }

    fn start(&mut self, out: &mut Vec<Command>) {
        if let Some(both) = self.roles.both()
            && !self.counting
            && !self.cannot_store()
        {
            self.counting = true;
            out.extend(both.map(Command::Start));
        }
    }

    fn stop(&mut self, out: &mut Vec<Command>) {
        if std::mem::take(&mut self.counting) {
            out.extend(Role::ALL.into_iter().filter_map(|role| self.holder(role)).map(Command::Stop));
        }
    }

    fn number(
        &mut self,
        from: Connection,
        named: Role,
        (number, reply): (u64, Option<Reply>),
        now: u64,
        out: &mut Vec<Command>,
    ) {
        let Some(role) = self.roles.role_of(from) else {
            return out.push(Command::Refuse { to: from, reply, refusal: Refusal::NoRole });
        };
        let has_sent = self.roles.holder(role).is_some_and(|holder| holder.has_sent);
        if number == 0 || Role::of(number) != named || (role != named && has_sent) {
            out.push(Command::Refuse { to: from, reply, refusal: Refusal::WrongNumber });
            return self.not_the_next(role, now);
        }
        if role != named && !self.change_role(from, named, now, out) {
            return;
        }
        if let Some(holder) = self.roles.holder_mut(named) {
            holder.has_sent = true;
        }
        self.come(from, (number, reply), now, out);
    }

    /// Follows a connection that names another role than it has. Returns false if it had to
    /// be disconnected, because the other client counts the numbers of that role.
    fn change_role(&mut self, connection: Connection, named: Role, now: u64, out: &mut Vec<Command>) -> bool {
        if self.roles.holder(named).is_some_and(|other| other.has_sent) {
            out.push(Command::Disconnect { connection, reason: Reason::Taken(named) });
            self.leave(named.other(), now, out);
            return false;
        }
        self.roles.exchange();
        for role in Role::ALL {
            self.tell_role(role, out);
        }
        true
    }

    /// Takes in a number of the connection's role.
    fn come(&mut self, from: Connection, (number, reply): (u64, Option<Reply>), now: u64, out: &mut Vec<Command>) {
        let role = Role::of(number);
        let refuse = |refusal| Command::Refuse { to: from, reply, refusal };
        match self.numbers.come(number, reply.map(|reply| (from, reply))) {
            Came::Stored => out.extend(reply.map(|reply| Command::Acknowledge { to: from, reply, number })),
            Came::Next => self.clear_missing(role),
            Came::Again => {}
            Came::Beyond => self.not_the_next(role, now),
            Came::TooMany => out.push(refuse(Refusal::TooMany)),
            Came::TooFar if self.cannot_store() => out.push(refuse(Refusal::CannotStore)),
            Came::TooFar => {
                out.push(refuse(Refusal::TooFar(self.numbers.limit())));
                self.not_the_next(role, now);
            }
        }
    }

    fn malformed(&mut self, from: Connection, reply: Option<Reply>, now: u64, out: &mut Vec<Command>) {
        out.push(Command::Refuse { to: from, reply, refusal: Refusal::Malformed });
        if let Some(role) = self.roles.role_of(from) {
            self.not_the_next(role, now);
        }
    }

    /// The holder of `role` has sent something else than the next number of its role. If that
    /// number could be taken in, it is missing from now on.
    fn not_the_next(&mut self, role: Role, now: u64) {
        let is_possible = self.numbers.next(role) <= self.numbers.limit();
        if let Some(holder) = self.roles.holder_mut(role)
            && is_possible
        {
            holder.missing_since.get_or_insert(now);
        }
    }

    /// The next number of `role` has come. If there is another gap behind it, the time begins
    /// with the next number beyond it.
    fn clear_missing(&mut self, role: Role) {
        if let Some(holder) = self.roles.holder_mut(role) {
            holder.missing_since = None;
        }
    }

    fn drop_silent(&mut self, now: u64, out: &mut Vec<Command>) {
        while let Some(role) = self.roles.silent(now) {
            self.disconnect(role, Reason::Silent, now, out);
        }
    }

    fn drop_stuck(&mut self, now: u64, out: &mut Vec<Command>) {
        for role in Role::ALL {
            let since = self.roles.holder(role).and_then(|holder| holder.missing_since);
            if since.is_some_and(|since| since.saturating_add(MISSING_MS) <= now) {
                self.disconnect(role, Reason::Missing(self.numbers.next(role)), now, out);
            }
        }
    }

    fn disconnect(&mut self, role: Role, reason: Reason, now: u64, out: &mut Vec<Command>) {
        out.extend(self.holder(role).map(|connection| Command::Disconnect { connection, reason }));
        self.leave(role, now, out);
    }

    /// Stores what has come, or tries again.
    fn store(&mut self, now: u64, out: &mut Vec<Command>) {
        match self.retry_at {
            None => out.extend(self.numbers.store()),
            Some(at) if at <= now && !self.numbers.is_storing() => out.push(self.numbers.store_again()),
            Some(_) => {}
        }
    }
}
