//! A load that publishes and consumes continuously, and counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jobs_queue::{JobQueue, Message, Priority, PublishError, RabbitMqQueue};
use testkit::{eventually, eventually_ok};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{OPTIONS_TIMEOUT, SOON, open, threads};

const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 2;
const BATCH: usize = 5;

/// Upper bound of the time for publishing, regardless of the broker: its timeout, and
/// some more for a busy machine.
const BOUND: Duration = OPTIONS_TIMEOUT.saturating_mul(3);

/// A running load, until it is [finished](Self::finish).
pub(crate) struct Load {
    pub(crate) queue: Arc<RabbitMqQueue>,
    counts: Arc<Mutex<Counts>>,
    stop: CancellationToken,
    publishers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    confirmed: HashSet<Uuid>,
    received: HashMap<Uuid, u32>,
    /// Number of jobs received, of each priority.
    received_of: [usize; 3],
    errors: BTreeMap<&'static str, u32>,
    longest: Duration,
}

impl Counts {
    /// Number of confirmed messages that were not received.
    fn missing(&self) -> usize {
        self.confirmed.iter().filter(|job| !self.received.contains_key(job)).count()
    }

    fn report(&self, what: &str) {
        let Self { confirmed, received, errors, longest, .. } = self;
        let deliveries: u32 = received.values().sum();
        eprintln!(
            "{what}: confirmed {}, lost {}, deliveries {deliveries}, of which again {}, failures {errors:?}, \
             longest publish {longest:?}",
            confirmed.len(),
            self.missing(),
            deliveries as usize - received.len(),
        );
        assert!(*longest < BOUND, "publishing took {longest:?}");
    }
}

impl Load {
    pub(crate) fn start(url: &str, name: &str) -> Self {
        let queue = Arc::new(open(url, name));
        let (counts, stop) = (Arc::<Mutex<Counts>>::default(), CancellationToken::new());
        let publishers = (0..PUBLISHERS)
            .map(|_| tokio::spawn(publish(Arc::clone(&queue), Arc::clone(&counts), stop.clone())))
            .collect();
        let consumers =
            (0..CONSUMERS).map(|_| tokio::spawn(consume(Arc::clone(&queue), Arc::clone(&counts)))).collect();
        Self { queue, counts, stop, publishers, consumers }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap()
    }

    /// Waits until more messages have been confirmed, and more of each priority received.
    pub(crate) async fn progress(&self, after: &str) {
        let size = |counts: &Counts| (counts.confirmed.len(), counts.received_of);
        let before = size(&self.counts());
        let began = Instant::now();
        eventually_ok(SOON, format!("progress after {after}"), async || {
            let now = size(&self.counts());
            let received = std::iter::zip(now.1, before.1).all(|(now, before)| now >= before + 15);
            let progressed = received && now.0 >= before.0 + 100;
            progressed.then_some(()).ok_or_else(|| format!("confirmed and received {now:?}, before {before:?}"))
        })
        .await;
        eprintln!("after {after}: messages go through again, {:?} later", began.elapsed());
    }

    /// Waits until publishing has failed `count` more times with an error of this kind.
    pub(crate) async fn failures(&self, kind: &'static str, count: u32) {
        let failed = || self.counts().errors.get(kind).copied().unwrap_or_default();
        let before = failed();
        eventually(SOON, format!("{count} failures: {kind}"), async || (failed() >= before + count).then_some(()))
            .await;
    }

    /// Ends the load, and checks that all confirmed messages are received.
    pub(crate) async fn finish(mut self, what: &str) {
        self.stop.cancel();
        for publisher in std::mem::take(&mut self.publishers) {
            publisher.await.unwrap();
        }
        eventually_ok(SOON, "all that was confirmed", async || {
            let (missing, confirmed, received) = {
                let counts = self.counts();
                (counts.missing(), counts.confirmed.len(), counts.received_of)
            };
            if missing == 0 {
                return Ok(());
            }
            let depth = self.queue.depth().await;
            Err(format!("{missing} of {confirmed} missing, received {received:?}, the broker has {depth:?}"))
        })
        .await;
        self.queue.close().await;
        for consumer in std::mem::take(&mut self.consumers) {
            consumer.await.unwrap();
        }
        self.counts.lock().unwrap().report(what);
        eventually(SOON, "the end of all threads", async || (threads() == 0).then_some(())).await;
    }
}

async fn publish(queue: Arc<RabbitMqQueue>, counts: Arc<Mutex<Counts>>, stop: CancellationToken) {
    let mut batch: Vec<Message> = Vec::new();
    while !stop.is_cancelled() {
        while batch.len() < BATCH {
            let priority = Priority::ALL[batch.len() % Priority::ALL.len()];
            batch.push(Message { job: Uuid::now_v7(), priority, traceparent: None });
        }
        let began = Instant::now();
        let outcomes = queue.publish(batch.clone()).await;
        let mut counts = counts.lock().unwrap();
        counts.longest = counts.longest.max(began.elapsed());
        let mut outcomes = outcomes.into_iter();
        // Messages that failed are published again with the next batch.
        batch.retain(|message| match outcomes.next().unwrap() {
            Ok(()) => {
                counts.confirmed.insert(message.job);
                false
            }
            Err(error) => {
                *counts.errors.entry(kind(&error)).or_default() += 1;
                true
            }
        });
    }
}

async fn consume(queue: Arc<RabbitMqQueue>, counts: Arc<Mutex<Counts>>) {
    let mut consumer = queue.consume(20);
    while let Some(delivery) = consumer.next().await {
        {
            let mut counts = counts.lock().unwrap();
            let deliveries = counts.received.entry(delivery.message.job).or_default();
            *deliveries += 1;
            if *deliveries == 1 {
                counts.received_of[delivery.message.priority.index()] += 1;
            }
        }
        delivery.ack();
    }
}

fn kind(error: &PublishError) -> &'static str {
    match error {
        PublishError::Unroutable => "unroutable",
        PublishError::Refused => "refused",
        PublishError::Unavailable(_) => "unavailable",
        PublishError::TimedOut(_) => "timed out",
    }
}
