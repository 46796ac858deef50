//! Records what happens: in the log, the status and the metrics.

use std::time::{Duration, Instant};

use counting_core::{Command, Connection, Reason, Role, Server};
use kit_process::readiness::Check;

use super::connections::Connections;
use crate::Metrics;
use crate::status::{self, Client, Statuses};

/// Time between two log lines about the numbers that were stored.
const SUMMARY: Duration = Duration::from_secs(1);

/// Records what happens.
pub(super) struct Journal {
    statuses: Statuses,
    metrics: Metrics,
    /// Passes while numbers can be stored.
    check: Check,
    holders: [Option<Connection>; 2],
    /// Number of clients that were refused and are not logged yet, and when the last ones were.
    refused: (u64, Option<Instant>),
    /// The last number in the log, and when it was logged.
    logged: (u64, Instant),
}

impl Journal {
    /// Records that the file is open, and ends with the number `last`.
    pub(super) fn opened(statuses: Statuses, metrics: Metrics, check: Check, last: u64) -> Self {
        metrics.set_last_number(last);
        metrics.can_store.set(1);
        check.set(true);
        statuses.update(|status| (status.last_number, status.error) = (Some(last), None));
        Self { statuses, metrics, check, holders: [None; 2], refused: (0, None), logged: (last, Instant::now()) }
    }

    /// Records a command for a client.
    pub(super) fn note(&mut self, command: &Command, connections: &Connections) {
        match command {
            Command::Assign { to, role, last_number } => {
                let address = connections.address(*to);
                tracing::info!(client_id = %role, last_number, address, "a client took the role");
            }
            Command::Reject(_) => self.refused.0 += 1,
            Command::Disconnect { connection, reason } => self.note_disconnect(*connection, *reason),
            Command::Refuse { to, refusal, .. } => {
                let role = self.role(*to);
                tracing::debug!(client_id = role.map(Role::name), %refusal, "refused a number");
            }
            _ => {}
        }
    }

    fn note_disconnect(&self, connection: Connection, reason: Reason) {
        let label = match reason {
            Reason::Silent => "silent",
            Reason::Missing(_) => "missing",
            Reason::Taken(_) => "taken",
        };
        self.metrics.disconnects.get_or_create(&[("reason", label)]).inc();
        let role = self.role(connection);
        tracing::warn!(client_id = role.map(Role::name), %reason, "disconnected a client");
        self.record("disconnected", role, format!("The server disconnected the client: {reason}."));
    }

    /// Records how an append ended.
    pub(super) fn appended(&mut self, error: Option<String>) {
        if self.statuses.read(|status| status.error == error) {
            return;
        }
        self.metrics.can_store.set(i64::from(error.is_none()));
        self.check.set(error.is_none());
        if let Some(error) = &error {
            tracing::error!(error, "cannot store numbers; trying again");
            self.record("error", None, format!("Numbers cannot be stored: {error}."));
        } else {
            let last_number = self.statuses.read(|status| status.last_number);
            tracing::info!(last_number, "numbers can be stored again");
            self.record("recovered", None, "Numbers can be stored again.".to_owned());
        }
        self.statuses.update(|status| status.error = error);
    }

    /// Records what has changed.
    pub(super) fn update(&mut self, server: &Server, connections: &Connections) {
        let holders = Role::ALL.map(|role| server.holder(role));
        for role in Role::ALL {
            let (before, after) = (self.holders[role as usize], holders[role as usize]);
            if before != after {
                let since_ms = status::now_ms();
                self.note_holder(role, after.map(|it| Client { address: connections.address(it), since_ms }));
            }
        }
        self.holders = holders;
        let (counting, last, waiting) = (server.is_counting(), server.stored(), connections.waiting());
        if self.statuses.read(|status| status.is_counting != counting) {
            self.note_counting(counting, last);
        }
        if self.statuses.read(|status| (status.last_number, status.waiting) != (Some(last), waiting)) {
            self.metrics.set_last_number(last);
            self.statuses.update(|status| (status.last_number, status.waiting) = (Some(last), waiting));
        }
        self.summarize(last);
        self.note_refused();
    }

    /// Logs at most once a second that clients were refused: they may come again at once.
    fn note_refused(&mut self) {
        let (refused, noted_at) = self.refused;
        if refused > 0 && noted_at.is_none_or(|at| at.elapsed() >= SUMMARY) {
            tracing::warn!(clients = refused, "refused clients: both roles are taken, and both holders answer");
            self.statuses.update(|status| status.record_refused(refused));
            self.refused = (0, Some(Instant::now()));
        }
    }

    fn note_holder(&self, role: Role, holder: Option<Client>) {
        if let Some(Client { address, .. }) = &holder {
            let from = address.as_deref().map(|address| format!(" from {address}")).unwrap_or_default();
            self.record("joined", Some(role), format!("The client joined{from}."));
        } else {
            tracing::info!(client_id = %role, "the client left");
            self.record("left", Some(role), "The client left.".to_owned());
        }
        self.metrics.role_held.get_or_create(&[("role", role.name())]).set(i64::from(holder.is_some()));
        self.statuses.update(|status| status.clients[role as usize] = holder);
    }

    fn note_counting(&self, is_counting: bool, last_number: u64) {
        let (kind, text) = if is_counting {
            tracing::info!(last_number, "counting starts");
            ("start", "Counting starts: both clients are there.")
        } else {
            tracing::info!(last_number, "counting stops");
            ("stop", "Counting stops.")
        };
        self.record(kind, None, text.to_owned());
        self.metrics.running.set(i64::from(is_counting));
        self.statuses.update(|status| status.is_counting = is_counting);
    }

    /// Logs once a second what was stored.
    fn summarize(&mut self, last_number: u64) {
        let (before, at) = self.logged;
        if last_number > before && at.elapsed() >= SUMMARY {
            tracing::info!(last_number, numbers = last_number - before, "stored");
            self.logged = (last_number, Instant::now());
        }
    }

    fn role(&self, connection: Connection) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.holders[*role as usize] == Some(connection))
    }

    fn record(&self, kind: &'static str, role: Option<Role>, text: String) {
        self.statuses.update(|status| status.record(kind, role, text));
    }
}
