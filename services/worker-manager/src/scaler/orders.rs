//! Keeps a slow platform from holding up failovers: a task of its own talks to
//! it, and passes only look at what it last heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use values_core::manager::Replicas;

use super::Scaler;

/// How often the number of replicas is read, to notice a scale made by hand.
const POLL: Duration = Duration::from_secs(1);

/// How long the platform may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Orders to a [`Scaler`], carried out one after the other.
pub(crate) struct Orders {
    given: AtomicU64,
    order: watch::Sender<Order>,
    reading: watch::Receiver<Reading>,
    task: AbortHandle,
}

#[derive(Debug, Clone, Default)]
struct Order {
    /// 1 for the first order; 0 means none yet.
    number: u64,
    replicas: u32,
    victims: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The order that was carried out before reading.
    after: u64,
    replicas: Replicas,
}

impl Orders {
    /// Starts the task.
    pub(crate) fn start(scaler: Arc<dyn Scaler>) -> Self {
        let (order, orders) = watch::channel(Order::default());
        let (readings, reading) = watch::channel(Reading { after: 0, replicas: Replicas::Unknown });
        let task = tokio::spawn(carry_out(scaler, orders, readings)).abort_handle();
        Self { given: AtomicU64::new(0), order, reading, task }
    }

    /// What is known of the number of replicas: nothing, while an order is under way.
    pub(crate) fn replicas(&self) -> Replicas {
        let reading = *self.reading.borrow();
        if reading.after == self.given.load(Ordering::Relaxed) { reading.replicas } else { Replicas::Unknown }
    }

    /// Gives an order. It replaces one that has not been begun.
    pub(crate) fn scale(&self, replicas: u32, victims: Vec<String>) {
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        self.order.send_replace(Order { number, replicas, victims });
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry_out(scaler: Arc<dyn Scaler>, mut orders: watch::Receiver<Order>, readings: watch::Sender<Reading>) {
    let mut after = 0;
    let mut failed = false;
    loop {
        let order = orders.borrow().clone();
        if order.number > after {
            failed = !execute(scaler.as_ref(), &order).await;
            after = order.number;
            if failed {
                tokio::time::sleep(POLL).await;
            }
        }
        let replicas = match tokio::time::timeout(TIMEOUT, scaler.replicas()).await {
            // Said once: the state machine begins anew from it.
            Ok(Ok(replicas)) if std::mem::take(&mut failed) => Replicas::OrderFailed(replicas),
            Ok(Ok(replicas)) => Replicas::Known(replicas),
            Ok(Err(error)) => unknown(&error),
            Err(elapsed) => unknown(&elapsed),
        };
        readings.send_replace(Reading { after, replicas });
        tokio::select! {
            _ = orders.changed() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

fn unknown(error: &dyn std::fmt::Display) -> Replicas {
    tracing::warn!(%error, "cannot read the number of replicas");
    Replicas::Unknown
}

async fn execute(scaler: &dyn Scaler, order: &Order) -> bool {
    let Order { replicas, victims, .. } = order;
    match tokio::time::timeout(TIMEOUT, scaler.scale(*replicas, victims)).await {
        Ok(Ok(())) => {
            tracing::info!(replicas, ?victims, "scaled the workers");
            true
        }
        Ok(Err(error)) => {
            tracing::warn!(replicas, %error, "cannot scale the workers");
            false
        }
        Err(_) => {
            tracing::warn!(replicas, "scaling the workers took too long");
            false
        }
    }
}
