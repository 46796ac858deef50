//! Logs of the answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use round_robin_core::types::ClientId;
use round_robin_session::{Answer, Answers};
use tokio::time::{MissedTickBehavior, interval};

/// Logs which replica served: each message, or a summary every second.
pub(crate) struct Reporter {
    client_id: ClientId,
    is_summary: bool,
    /// The number of messages that each replica served since the last summary.
    served: BTreeMap<String, u64>,
    last: Option<i64>,
}

impl Reporter {
    pub(crate) const fn new(client_id: ClientId, is_summary: bool) -> Self {
        Self { client_id, is_summary, served: BTreeMap::new(), last: None }
    }

    /// Logs answers until the session ends.
    pub(crate) async fn run(&mut self, answers: &mut Answers) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seconds.reset();
        loop {
            tokio::select! {
                answer = answers.served() => match answer {
                    Some(Ok(answer)) => self.record(answer),
                    // The session has logged it.
                    Some(Err(_)) => {}
                    None => break,
                },
                _ = seconds.tick(), if self.is_summary => self.summarize(),
            }
        }
        if !self.served.is_empty() {
            self.summarize();
        }
    }

    fn record(&mut self, answer: Answer) {
        let Answer { counter, message, replica, served_at_ms, elapsed } = answer;
        if self.is_summary {
            self.last = Some(counter);
            *self.served.entry(replica).or_default() += 1;
        } else {
            let elapsed_ms = elapsed.map(|elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            let client_id = &self.client_id;
            tracing::info!(%client_id, counter, text = message, replica, served_at_ms, elapsed_ms, "served");
        }
    }

    fn summarize(&mut self) {
        let mut replicas = String::new();
        let mut served = 0;
        for (replica, count) in std::mem::take(&mut self.served) {
            let _ = write!(replicas, "{replica}={count} ");
            served += count;
        }
        let (client_id, replicas) = (&self.client_id, replicas.trim_end());
        tracing::info!(%client_id, served, counter = self.last, replicas, "served in a second");
    }
}
