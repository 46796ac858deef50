//! Sending settlements to the broker.

use futures_util::future::{FutureExt, join_all};
use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use tokio::sync::mpsc;

use super::session::{Failure, Session};
use crate::Rejection;
use crate::delivery::Outcome;

/// Receives the settlements of the deliveries of one channel.
pub(crate) type Settled = mpsc::UnboundedReceiver<(Acker, Outcome)>;

/// Settlements that are sent at once.
pub(crate) const BATCH: usize = 256;

/// Sends all settlements that arrive, until no more can arrive.
pub(crate) async fn settle_all(session: &Session, settled: &mut Settled) -> Result<(), Failure> {
    let mut batch = Vec::new();
    while settled.recv_many(&mut batch, BATCH).await > 0 {
        settle(session, &mut batch).await?;
    }
    Ok(())
}

/// Sends settlements. If their channel is gone, they have no effect.
pub(crate) async fn settle(session: &Session, batch: &mut Vec<(Acker, Outcome)>) -> Result<(), Failure> {
    let settling = join_all(batch.drain(..).map(|(acker, outcome)| async move {
        let _ = match outcome {
            Outcome::Acked => acker.ack(BasicAckOptions::default()).await,
            // Not nack: since RabbitMQ 4.3, it does not count as an attempt.
            Outcome::Rejected(Rejection::Requeue) => acker.reject(BasicRejectOptions { requeue: true }).await,
            Outcome::Rejected(Rejection::DeadLetter) => acker.reject(BasicRejectOptions { requeue: false }).await,
        };
    }));
    session.answer("settlements", settling.map(|_| Ok(()))).await
}
