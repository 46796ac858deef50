//! Batches of messages that are served together.

use kit_batch::Parts;
use round_robin_core::tables::{ServedBatch, Waiting};
use round_robin_core::types::{ClientId, Range, Registration, Turn};
use round_robin_store::Error;
use tokio::time::Instant;

use super::Serving;

/// By whom and when a batch is served.
pub(super) struct Batch<'a> {
    pub(super) replica: Registration,
    pub(super) turn: Turn,
    /// The clients to list afterwards.
    pub(super) next: (Option<&'a ClientId>, usize),
}

/// What was served, and the clients that wait; `None` if the turn was over.
type Served = Option<(ServedBatch, Vec<Waiting>)>;

impl Serving {
    /// Serves messages in one transaction. If the database refuses it, serves parts of it, so that
    /// one client does not hold up the others.
    pub(super) async fn serve(&self, batch: &Batch<'_>, ranges: &[Range]) -> Result<Served, Error> {
        match self.serve_part(batch, ranges).await {
            Err(error) if is_of_a_row(&error) && ranges.len() > 1 => self.serve_parts(batch, ranges).await,
            result => result,
        }
    }

    async fn serve_parts(&self, batch: &Batch<'_>, ranges: &[Range]) -> Result<Served, Error> {
        let mut all: Served = None;
        let mut parts = Parts::of(ranges.len());
        while let Some(part) = parts.next() {
            match self.serve_part(batch, &ranges[part.clone()]).await {
                Ok(Some((served, waiting))) => {
                    let (mut total, _) = all.unwrap_or((ServedBatch { at: served.at, ranges: Vec::new() }, Vec::new()));
                    total.at = served.at;
                    total.ranges.extend(served.ranges);
                    all = Some((total, waiting));
                }
                Ok(None) => return Ok(None),
                Err(error) if is_of_a_row(&error) => {
                    if !parts.split(&part) {
                        let Range { client, first, last } = &ranges[part.start];
                        tracing::error!(%error, client_id = %client, first, last, "the database refuses to serve messages");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

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

/// Whether an error may concern some of several rows: all other errors concern each part, too.
fn is_of_a_row(error: &Error) -> bool {
    !error.is_transient() && !error.is_defect()
}
