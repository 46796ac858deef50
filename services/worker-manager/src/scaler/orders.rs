//! Sends orders to the platform in a background task, so that a slow platform does not
//! delay failovers. Passes read only the last answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit_process::Tasks;
use tokio::sync::watch;
use values_core::manager::Replicas;

use super::Scaler;

/// Interval at which the number of replicas is read, to notice `kubectl scale`.
const POLL: Duration = Duration::from_secs(1);

/// Time limit of a request to the platform.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Orders to a [`Scaler`], executed one at a time.
pub(crate) struct Orders {
    given: AtomicU64,
    order: watch::Sender<Order>,
    reading: watch::Receiver<Reading>,
}

#[derive(Debug, Clone, Default)]
struct Order {
    /// 1 for the first order; 0 for none.
    number: u64,
    replicas: u32,
    victims: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The number of the last order executed before the reading.
    after: u64,
    replicas: Replicas,
}

impl Orders {
    /// Starts the background task.
    pub(crate) fn start(scaler: Arc<dyn Scaler>, tasks: &Tasks) -> Self {
        let (order, orders) = watch::channel(Order::default());
        let (readings, reading) = watch::channel(Reading { after: 0, replicas: Replicas::Unknown });
        tasks.spawn("scaler", carry_out(scaler, orders, readings));
        Self { given: AtomicU64::new(0), order, reading }
    }

    /// The number of replicas as last read; unknown while an order is in progress.
    pub(crate) fn replicas(&self) -> Replicas {
        let reading = *self.reading.borrow();
        if reading.after == self.given.load(Ordering::Relaxed) { reading.replicas } else { Replicas::Unknown }
    }

    /// Submits an order. It replaces an order that has not been started.
    pub(crate) fn scale(&self, replicas: u32, victims: Vec<String>) {
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        self.order.send_replace(Order { number, replicas, victims });
    }
}

async fn carry_out(scaler: Arc<dyn Scaler>, mut orders: watch::Receiver<Order>, readings: watch::Sender<Reading>) {
    let mut after = 0;
    let mut failed = false;
    loop {
        let order = orders.borrow_and_update().clone();
        if order.number > after {
            failed = !execute(scaler.as_ref(), &order).await;
            after = order.number;
            if failed {
                tokio::time::sleep(POLL).await;
            }
        }
        let replicas = match tokio::time::timeout(TIMEOUT, scaler.replicas()).await {
            // The failure is reported once, and the state machine continues from this
            // number.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use async_trait::async_trait;
    use kit_process::Shutdown;

    use super::*;
    use crate::scaler::ScalerError;

    /// A platform that executes orders, unless it is set to fail.
    #[derive(Default)]
    struct Platform {
        replicas: Mutex<u32>,
        orders: Mutex<Vec<u32>>,
        failing: AtomicBool,
    }

    #[async_trait]
    impl Scaler for Platform {
        async fn replicas(&self) -> Result<u32, ScalerError> {
            Ok(*self.replicas.lock().unwrap())
        }

        async fn scale(&self, replicas: u32, _: &[String]) -> Result<(), ScalerError> {
            self.orders.lock().unwrap().push(replicas);
            if self.failing.load(Ordering::Relaxed) {
                return Err(ScalerError::new("no"));
            }
            *self.replicas.lock().unwrap() = replicas;
            Ok(())
        }
    }

    async fn known(orders: &Orders) -> Replicas {
        tokio::time::timeout(Duration::from_mins(1), async {
            while orders.replicas() == Replicas::Unknown {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("the platform is read");
        orders.replicas()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_known_while_an_order_is_under_way() {
        let platform = Arc::new(Platform::default());
        let tasks = Tasks::new(&Shutdown::new());
        let orders = Orders::start(Arc::clone(&platform) as _, &tasks);
        assert_eq!(known(&orders).await, Replicas::Known(0));
        orders.scale(3, Vec::new());
        assert_eq!(orders.replicas(), Replicas::Unknown, "0 would look like an operator's doing");
        assert_eq!(known(&orders).await, Replicas::Known(3));
        tokio::time::sleep(POLL * 5).await;
        assert_eq!(*platform.orders.lock().unwrap(), [3], "an order is carried out once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_order_is_told_and_not_repeated() {
        let platform = Arc::new(Platform::default());
        platform.failing.store(true, Ordering::Relaxed);
        let tasks = Tasks::new(&Shutdown::new());
        let orders = Orders::start(Arc::clone(&platform) as _, &tasks);
        orders.scale(3, Vec::new());
        assert_eq!(known(&orders).await, Replicas::OrderFailed(0));
        assert_eq!(*platform.orders.lock().unwrap(), [3]);
        tokio::time::sleep(POLL * 2).await;
        assert_eq!(orders.replicas(), Replicas::Known(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scale_made_by_hand_is_noticed() {
        let platform = Arc::new(Platform::default());
        let tasks = Tasks::new(&Shutdown::new());
        let orders = Orders::start(Arc::clone(&platform) as _, &tasks);
        assert_eq!(known(&orders).await, Replicas::Known(0));
        *platform.replicas.lock().unwrap() = 9;
        tokio::time::sleep(POLL * 2).await;
        assert_eq!(orders.replicas(), Replicas::Known(9));
    }
}
