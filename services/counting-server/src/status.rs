//! The state of the count, for the page, the API and metrics.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use counting_core::Role;
use serde::Serialize;
use tokio::sync::watch;

/// Number of happenings that are kept.
const HAPPENINGS: usize = 40;

/// The state of the count at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// The last number that is stored; `None` while the file is not open.
    pub(crate) last_number: Option<u64>,
    /// The holder of each role.
    pub(crate) clients: [Option<Client>; 2],
    /// Number of clients that wait for a role.
    pub(crate) waiting: usize,
    /// Whether both clients are there and count.
    pub(crate) is_counting: bool,
    /// The reason why lines cannot be stored.
    pub(crate) error: Option<String>,
    /// What happened last, newest first.
    pub(crate) happenings: VecDeque<Happening>,
}

/// A client with a role.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Client {
    /// The address from which it is connected.
    pub(crate) address: Option<String>,
    /// When it received its role, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Happening {
    /// When it happened, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// Its kind: `start`, `stop`, `joined`, `left`, `refused`, `disconnected`, `error` or `recovered`.
    pub(crate) kind: &'static str,
    /// The role that it is about.
    pub(crate) client_id: Option<&'static str>,
    /// What happened, as a sentence.
    pub(crate) text: String,
    /// How often it happened.
    #[serde(skip)]
    times: u64,
}

impl Status {
    /// Whether lines can be stored.
    pub(crate) const fn can_store(&self) -> bool {
        self.last_number.is_some() && self.error.is_none()
    }

    /// Records something that happened now.
    pub(crate) fn record(&mut self, kind: &'static str, role: Option<Role>, text: String) {
        self.happenings.truncate(HAPPENINGS - 1);
        let client_id = role.map(Role::name);
        self.happenings.push_front(Happening { at_ms: now_ms(), kind, client_id, text, times: 1 });
    }

    /// Records that clients were refused. A series of refusals is one entry, so that it does not
    /// push others out of the list.
    pub(crate) fn record_refused(&mut self, clients: u64) {
        let before = self.happenings.pop_front_if(|latest| latest.kind == "refused").map_or(0, |latest| latest.times);
        let times = before + clients;
        let who = if times == 1 { "A third client was".to_owned() } else { format!("{times} clients were") };
        self.record("refused", None, format!("{who} refused: both roles are taken."));
        if let Some(latest) = self.happenings.front_mut() {
            latest.times = times;
        }
    }
}

/// The current status. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statuses(watch::Sender<Status>);

impl Statuses {
    /// Changes the status.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        self.0.send_modify(change);
    }

    /// Looks at the status.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Status) -> T) -> T {
        look(&self.0.borrow())
    }
}

/// Milliseconds since the Unix epoch. People read it; nothing depends on it.
#[expect(clippy::disallowed_methods, reason = "there is no database whose clock could be asked")]
pub(crate) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_of_refusals_is_one_entry() {
        let mut status = Status::default();
        status.record("start", None, "Counting starts.".to_owned());
        status.record_refused(1);
        assert_eq!(status.happenings[0].text, "A third client was refused: both roles are taken.");
        status.record_refused(2);
        status.record_refused(40);
        assert_eq!(status.happenings[0].text, "43 clients were refused: both roles are taken.");
        status.record("stop", None, "Counting stops.".to_owned());
        status.record_refused(1);
        let kinds: Vec<_> = status.happenings.iter().map(|happening| happening.kind).collect();
        assert_eq!(kinds, ["refused", "stop", "refused", "start"]);
    }
}
