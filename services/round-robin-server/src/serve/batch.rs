//! Batches of messages that are served together.

use std::collections::BTreeMap;
use std::time::Duration;

use kit_batch::Parts;
use round_robin_core::tables::{ServedBatch, Waiting};
use round_robin_core::types::{ClientId, Range, Registration, Turn};
use round_robin_store::Error;
use tokio::time::Instant;

use super::Serving;

/// Time until messages that the database refused to serve are tried again.
const REFUSED: Duration = Duration::from_secs(1);

/// Pause after a transaction that served nothing: the rows may be locked by a user.
const NOTHING: Duration = Duration::from_millis(10);

/// The replica that serves a batch, and its turn.
pub(super) struct Batch<'a> {
    pub(super) replica: Registration,
    pub(super) turn: Turn,
    /// The clients to list afterwards.
    pub(super) next: (Option<&'a ClientId>, usize),
}

/// What was served, and the clients that wait; `None` if the turn was over.
type Served = Option<(ServedBatch, Vec<Waiting>)>;

/// The clients whose messages the database refuses to serve, each until it is tried again.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<ClientId, Instant>);

impl Refused {
    /// Those of `ranges` that are not refused.
    fn without(&mut self, ranges: Vec<Range>) -> Vec<Range> {
        let now = Instant::now();
        self.0.retain(|_, until| *until > now);
        if self.0.is_empty() {
            return ranges;
        }
        ranges.into_iter().filter(|range| !self.0.contains_key(&range.client)).collect()
    }

    fn add(&mut self, Range { client, first, last }: &Range, error: &Error) {
        tracing::error!(%error, client_id = %client, first, last, "the database refuses to serve messages");
        self.0.insert(client.clone(), Instant::now() + REFUSED);
    }
}

impl Serving {
    /// Serves messages in one transaction. If the database refuses it, serves parts of it, so that
    /// one client does not hold up the others.
    pub(super) async fn serve(
        &self,
        batch: &Batch<'_>,
        ranges: Vec<Range>,
        refused: &mut Refused,
    ) -> Result<Served, Error> {
        let ranges = refused.without(ranges);
        let mut parts = Parts::of(ranges.len());
        let mut all = Vec::new();
        // Without a message to serve, the clients are listed all the same.
        let mut next = Some(parts.next().unwrap_or_default());
        let mut latest = None;
        while let Some(part) = next {
            match self.serve_part(batch, &ranges[part.clone()]).await {
                Ok(Some((served, waiting))) => {
                    all.extend(served.ranges);
                    latest = Some((served.at, waiting));
                }
                Ok(None) => return Ok(None),
                Err(error) if error.is_transient() || error.is_defect() => return Err(error),
                Err(error) => {
                    if !parts.split(&part) {
                        refused.add(&ranges[part.start], &error);
                    }
                }
            }
            next = parts.next();
        }
        if all.is_empty() {
            tokio::time::sleep(NOTHING).await;
        }
        Ok(latest.map(|(at, waiting)| (ServedBatch { at, ranges: all }, waiting)))
    }

    /// Serves messages in one transaction, and tells local clients.
    async fn serve_part(&self, batch: &Batch<'_>, ranges: &[Range]) -> Result<Served, Error> {
        let began = Instant::now();
        let served = self.store.serve(batch.replica, batch.turn, ranges, batch.next).await?;
        self.metrics.serve_seconds.observe(began.elapsed().as_secs_f64());
        match &served {
            Some((batch, _)) => {
                self.answers.served(&self.name, batch);
                let count: i64 = batch.ranges.iter().map(Range::count).sum();
                self.metrics.served.inc_by(count.unsigned_abs());
                self.metrics.serve_batch_size.observe(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
            }
            None => drop(self.metrics.late_batches.inc()),
        }
        Ok(served)
    }
}
