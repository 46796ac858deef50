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
    is_counting: bool,
    last_number: u64,
    waiting: usize,
    /// Number of clients that were refused and are not logged yet, and when the last ones were.
    refused: (u64, Option<Instant>),
    /// The last number in the log, and when it was logged.
    logged: (u64, Instant),
    error: Option<String>,
}

impl Journal {
    pub(super) fn new(statuses: Statuses, metrics: Metrics, check: Check) -> Self {
        Self {
            statuses,
            metrics,
            check,
            holders: [None; 2],
            is_counting: false,
            last_number: 0,
            waiting: 0,
            refused: (0, None),
            logged: (0, Instant::now()),
            error: None,
        }
    }

    /// Records that the file is open.
    pub(super) fn opened(&mut self, last: u64) {
        (self.last_number, self.logged.0) = (last, last);
        self.set_gauges();
        self.metrics.can_store.set(1);
        self.check.set(true);
        self.statuses.update(|status| {
            status.last_number = Some(last);
            status.error = None;
        });
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
        if error == self.error {
            return;
        }
        self.metrics.can_store.set(i64::from(error.is_none()));
        self.check.set(error.is_none());
        if let Some(error) = &error {
            tracing::error!(error, "cannot store numbers; trying again");
            self.record("error", None, format!("Numbers cannot be stored: {error}."));
        } else {
            tracing::info!(last_number = self.last_number, "numbers can be stored again");
            self.record("recovered", None, "Numbers can be stored again.".to_owned());
        }
        self.statuses.update(|status| status.error.clone_from(&error));
        self.error = error;
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
        if server.is_counting() != self.is_counting {
            self.is_counting = server.is_counting();
            self.note_counting();
        }
        let waiting = connections.waiting();
        if (server.stored(), waiting) != (self.last_number, self.waiting) {
            (self.last_number, self.waiting) = (server.stored(), waiting);
            self.statuses.update(|status| (status.last_number, status.waiting) = (Some(self.last_number), waiting));
        }
        self.set_gauges();
        self.summarize();
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
        self.statuses.update(|status| status.clients[role as usize] = holder);
    }

    fn note_counting(&self) {
        let (kind, text) = if self.is_counting {
            tracing::info!(last_number = self.last_number, "counting starts");
            ("start", "Counting starts: both clients are there.")
        } else {
            tracing::info!(last_number = self.last_number, "counting stops");
            ("stop", "Counting stops.")
        };
        self.record(kind, None, text.to_owned());
        self.statuses.update(|status| status.is_counting = self.is_counting);
    }

    fn set_gauges(&self) {
        self.metrics.last_number.set(i64::try_from(self.last_number).unwrap_or(i64::MAX));
        self.metrics.running.set(i64::from(self.is_counting));
        for role in Role::ALL {
            let is_held = self.holders[role as usize].is_some();
            self.metrics.role_held.get_or_create(&[("role", role.name())]).set(i64::from(is_held));
        }
    }

    /// Logs once a second what was stored.
    fn summarize(&mut self) {
        let (last, at) = self.logged;
        if self.last_number > last && at.elapsed() >= SUMMARY {
            let numbers = self.last_number - last;
            tracing::info!(last_number = self.last_number, numbers, "stored");
            self.logged = (self.last_number, Instant::now());
        }
    }

    fn role(&self, connection: Connection) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.holders[*role as usize] == Some(connection))
    }

    fn record(&self, kind: &'static str, role: Option<Role>, text: String) {
        self.statuses.update(|status| status.record(kind, role, text));
    }
}
