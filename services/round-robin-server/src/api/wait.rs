//! Waits until a message is served.

use std::time::Duration;

use round_robin_core::types::{MessageRow, Served};
use tokio::time::Instant;

use super::State;
use super::error::RouteError;
use crate::answers::{Answer, Follower};

/// How long a request waits for its answer at most while the service drains: another replica may
/// serve the message.
const DRAIN: Duration = Duration::from_secs(3);

impl State {
    /// Waits until the message of `row` is served, and adds the answer to `row`. Leaves `row` as it
    /// is if that takes longer than a request may wait.
    pub(super) async fn wait(&self, follower: &mut Follower, row: &mut MessageRow) -> Result<(), RouteError> {
        let began = Instant::now();
        let end = async {
            tokio::select! {
                () = tokio::time::sleep(self.answer_within.0) => {}
                () = async {
                    self.shutdown.draining().await;
                    tokio::time::sleep(DRAIN).await;
                } => {}
            }
        };
        tokio::select! {
            answer = follower.answer(row.counter) => match answer {
                Answer::Known(served) => {
                    row.served = Some(Served { replica: served.replica.to_string(), at: served.at });
                }
                Answer::Unknown => {
                    // Retention may have deleted it.
                    if let Some(stored) = self.store.message(&row.client, row.counter).await? {
                        row.served = stored.served;
                    }
                }
                Answer::Lost => return Err(RouteError::Lost),
            },
            () = end => return Ok(()),
        }
        self.metrics.answer_seconds.observe(began.elapsed().as_secs_f64());
        Ok(())
    }
}
