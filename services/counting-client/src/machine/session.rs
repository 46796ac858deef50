//! What a client knows and has sent on one connection.

use std::collections::VecDeque;

use counting_core::Role;

use super::Time;

/// A connection that the server has accepted.
#[derive(Debug)]
pub(super) struct Session {
    since: Time,
    /// When the server has to have given a role.
    assign_by: Time,
    /// The role, and the next number to send; none after the largest.
    assigned: Option<(Role, Option<u64>)>,
    game: Game,
    /// Numbers that are sent and not acknowledged, in the order of their ids.
    in_flight: VecDeque<Sent>,
    /// Until when a client that has nothing to send any more stays.
    lingers_until: Option<Time>,
}

/// What the server said of the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Game {
    NotStarted,
    Runs,
    Stopped,
}

/// A number that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    id: u64,
    pub(super) number: u64,
    pub(super) at: Time,
    /// When it was sent, or counting went on last.
    waits_since: Time,
}

impl Session {
    pub(super) const fn new(since: Time, assign_by: Time) -> Self {
        Self {
            since,
            assign_by,
            assigned: None,
            game: Game::NotStarted,
            in_flight: VecDeque::new(),
            lingers_until: None,
        }
    }

    /// When the server accepted the connection.
    pub(super) const fn since(&self) -> Time {
        self.since
    }

    /// When the server has to have given a role; none once it has.
    pub(super) fn assign_by(&self) -> Option<Time> {
        self.assigned.is_none().then_some(self.assign_by)
    }

    pub(super) const fn has_role(&self) -> bool {
        self.assigned.is_some()
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.assigned.map(|(role, _)| role)
    }

    /// The next number to send.
    pub(super) fn next(&self) -> Option<u64> {
        self.assigned.and_then(|(_, next)| next)
    }

    /// Takes a role, and begins after the last number of it that the server has stored. What was
    /// sent before is sent again if the server does not have it.
    pub(super) fn assign(&mut self, role: Role, last_number: u64) {
        let next = match role.last_up_to(last_number) {
            0 => Some(role.first()),
            last => last.checked_add(2),
        };
        self.assigned = Some((role, next));
        self.in_flight.clear();
        self.lingers_until = None;
    }

    pub(super) fn start(&mut self, now: Time) {
        if self.game != Game::Runs {
            self.game = Game::Runs;
            self.in_flight.iter_mut().for_each(|sent| sent.waits_since = now);
        }
    }

    pub(super) fn stop(&mut self) {
        if self.game == Game::Runs {
            self.game = Game::Stopped;
        }
    }

    pub(super) fn is_counting(&self) -> bool {
        self.game == Game::Runs
    }

    /// Whether counting ran on this connection, and does not any more.
    pub(super) fn has_stopped(&self) -> bool {
        self.game == Game::Stopped
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Since when the oldest number in flight waits while counting runs.
    pub(super) fn waits_since(&self) -> Option<Time> {
        self.in_flight.front().filter(|_| self.is_counting()).map(|sent| sent.waits_since)
    }

    /// Takes the next number, which is sent with this id, larger than those before.
    pub(super) fn send(&mut self, now: Time, id: u64) -> Option<(Role, u64)> {
        let (role, next) = self.assigned.as_mut()?;
        let number = (*next)?;
        *next = number.checked_add(2);
        self.in_flight.push_back(Sent { id, number, at: now, waits_since: now });
        Some((*role, number))
    }

    /// Removes the number with this id from those in flight.
    pub(super) fn acknowledge(&mut self, id: u64) -> Option<(Role, Sent)> {
        let index = self.in_flight.binary_search_by_key(&id, |sent| sent.id).ok()?;
        Some((self.role()?, self.in_flight.remove(index)?))
    }

    /// Until when a client that has nothing to send any more stays.
    pub(super) const fn lingers_until(&self) -> Option<Time> {
        self.lingers_until
    }

    /// The client has nothing to send any more, and stays until `until`, or as was said before.
    pub(super) fn linger(&mut self, until: Time) -> Time {
        *self.lingers_until.get_or_insert(until)
    }
}
