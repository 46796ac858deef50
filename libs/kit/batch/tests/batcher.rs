//! Callers and workers together.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit_batch::{Batcher, Error, Failure, Limits, Metrics, Operation, Worker};
use proptest::prelude::*;
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

/// The result of an item names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Echo(usize);

type Outcome = Result<Vec<Echo>, Failure<&'static str>>;

/// An operation made of a closure. Items are numbers.
#[derive(Clone)]
struct Scripted(Arc<Script>);

type Script = dyn Fn(Vec<usize>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync;

impl Operation for Scripted {
    type Item = usize;
    type Output = Echo;
    type Outputs = Vec<Echo>;
    type Error = &'static str;

    async fn execute(&mut self, items: &[usize]) -> Outcome {
        (self.0)(items.to_vec()).await
    }
}

fn scripted<F>(script: impl Fn(Vec<usize>) -> F + Send + Sync + 'static) -> Scripted
where
    F: Future<Output = Outcome> + Send + 'static,
{
    Scripted(Arc::new(move |items| Box::pin(script(items))))
}

const LIMITS: Limits = Limits { waiting: 8, items: 4, weight: usize::MAX };

fn batcher(limits: Limits) -> (Batcher<Scripted>, Worker<Scripted>) {
    Batcher::new(limits, Metrics::default())
}

fn echo(items: &[usize]) -> Vec<Echo> {
    items.iter().copied().map(Echo).collect()
}

/// The batches that an operation was called with.
type Log = Arc<Mutex<Vec<Vec<usize>>>>;

/// Takes a second for each batch.
fn slow(log: &Log) -> Scripted {
    let log = Arc::clone(log);
    scripted(move |items| {
        log.lock().unwrap().push(items.clone());
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(echo(&items))
        }
    })
}

/// An operation that waits for the items in `locked` in vain, and for which item 1 is away.
fn with_locked(locked: &'static [usize], log: &Log) -> Scripted {
    let log = Arc::clone(log);
    scripted(move |items| {
        log.lock().unwrap().push(items.clone());
        std::future::ready(if items.iter().any(|item| locked.contains(item)) {
            Err(Failure::Locked("locked"))
        } else if items.contains(&1) {
            Err(Failure::Batch("away"))
        } else {
            Ok(echo(&items))
        })
    })
}

/// The results of `count` items that share a batch.
async fn share(count: usize, operation: Scripted) -> Vec<Result<Echo, Error<&'static str>>> {
    let (batcher, worker) = batcher(Limits { waiting: count, items: count, ..LIMITS });
    let pending: Vec<_> = (0..count).map(|number| batcher.submit(number).unwrap()).collect();
    drop(batcher);
    worker.run(operation).await;
    let mut results = Vec::new();
    for pending in pending {
        results.push(pending.await);
    }
    results
}

#[tokio::test]
async fn a_locked_item_fails_alone_and_is_waited_for_once_more() {
    let log = Log::default();
    let results = share(5, with_locked(&[2], &log)).await;
    let (locked, away) = (Error::Failed("locked"), Error::Failed("away"));
    assert_eq!(results, [Ok(Echo(0)), Err(away), Err(locked), Ok(Echo(3)), Ok(Echo(4))]);
    assert_eq!(*log.lock().unwrap(), [vec![0, 1, 2, 3, 4], vec![0], vec![1], vec![2], vec![3], vec![4]]);
}

#[tokio::test]
async fn a_lone_locked_item_is_waited_for_once() {
    let log = Log::default();
    assert_eq!(share(1, with_locked(&[0], &log)).await, [Err(Error::Failed("locked"))]);
    assert_eq!(*log.lock().unwrap(), [vec![0]]);
}

#[tokio::test]
async fn after_four_locked_items_the_others_are_not_tried() {
    let log = Log::default();
    let results = share(9, with_locked(&[2, 4, 5, 6, 8], &log)).await;
    assert_eq!((&results[0], &results[3]), (&Ok(Echo(0)), &Ok(Echo(3))));
    assert_eq!(results[7], Err(Error::Failed("locked")), "it is not locked");
    assert_eq!(results.iter().filter(|result| **result == Err(Error::Failed("locked"))).count(), 6);
    assert_eq!(log.lock().unwrap().len(), 1 + 7);
}

#[tokio::test(start_paused = true)]
async fn a_lone_item_waits_for_nothing_and_the_next_ones_share() {
    let metrics = Metrics::default();
    let (batcher, worker) = Batcher::<Scripted>::new(LIMITS, metrics.clone());
    let log = Log::default();
    let callers = async {
        let began = tokio::time::Instant::now();
        let first = batcher.submit(0).unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let others: Vec<_> = (1..=5).map(|number| batcher.submit(number).unwrap()).collect();
        assert_eq!(metrics.waiting.get(), 5);
        assert_eq!(first.await, Ok(Echo(0)));
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        for (other, number) in others.into_iter().zip(1..) {
            assert_eq!(other.await, Ok(Echo(number)));
        }
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        assert_eq!(metrics.waiting.get(), 0);
        drop(batcher);
    };
    tokio::join!(worker.run(slow(&log)), callers);
    assert_eq!(*log.lock().unwrap(), [vec![0], vec![1, 2, 3, 4], vec![5]]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_a_drain_finishes_what_it_took_in() {
    let (batcher, worker) = batcher(LIMITS);
    let pending: Vec<_> = (0..8).map(|number| batcher.submit(number).unwrap()).collect();
    assert_eq!(batcher.submit(8).err(), Some(Error::Full));
    assert_eq!(batcher.call(8).await, Err(Error::Full));
    drop(batcher);
    let log = Log::default();
    worker.run(slow(&log)).await;
    assert_eq!(*log.lock().unwrap(), [[0, 1, 2, 3], [4, 5, 6, 7]]);
    for (pending, number) in pending.into_iter().zip(0..) {
        assert_eq!(pending.await, Ok(Echo(number)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_item_of_a_caller_that_has_gone_away_is_carried_out() {
    let (batcher, worker) = batcher(LIMITS);
    drop(batcher.submit(0).unwrap());
    let given_up = tokio::time::timeout(Duration::ZERO, batcher.call(1)).await;
    given_up.unwrap_err();
    let kept = batcher.submit(2).unwrap();
    drop(batcher);
    let log = Log::default();
    worker.run(slow(&log)).await;
    assert_eq!(*log.lock().unwrap(), [[0, 1, 2]]);
    assert_eq!(kept.await, Ok(Echo(2)));
}

/// Finishes a batch only when a second one is in flight.
fn meeting() -> Scripted {
    let both = Arc::new(Barrier::new(2));
    scripted(move |items| {
        let both = Arc::clone(&both);
        async move {
            both.wait().await;
            Ok(echo(&items))
        }
    })
}

/// Two full batches, twice.
async fn submit_two_batches(batcher: Batcher<Scripted>) {
    for _ in 0..2 {
        let pending: Vec<_> = (0..8).map(|number| batcher.submit(number).unwrap()).collect();
        for (pending, number) in pending.into_iter().zip(0..) {
            assert_eq!(pending.await, Ok(Echo(number)));
        }
    }
}

#[tokio::test]
async fn each_clone_of_a_worker_has_a_batch_in_flight() {
    let (batcher, worker) = batcher(LIMITS);
    let operation = meeting();
    let workers = (worker.clone().run(operation.clone()), worker.run(operation));
    tokio::join!(workers.0, workers.1, submit_two_batches(batcher));
}

#[tokio::test]
async fn one_task_has_several_batches_in_flight() {
    let (batcher, worker) = batcher(LIMITS);
    tokio::join!(worker.run_many(2, meeting()), submit_two_batches(batcher));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_on_many_threads_get_their_own_results() {
    const CALLERS: usize = 32;
    const CALLS: usize = 2_000;
    let (batcher, worker) = batcher(Limits { waiting: CALLERS, ..LIMITS });
    let carried_out = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for worker in [worker.clone(), worker.clone(), worker] {
        let carried_out = Arc::clone(&carried_out);
        workers.spawn(worker.run(scripted(move |items| {
            carried_out.fetch_add(items.len(), Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                Ok(echo(&items))
            }
        })));
    }
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let batcher = batcher.clone();
        callers.spawn(async move {
            for number in (caller * CALLS)..((caller + 1) * CALLS) {
                assert_eq!(batcher.call(number).await, Ok(Echo(number)));
            }
        });
    }
    callers.join_all().await;
    drop(batcher);
    workers.join_all().await;
    assert_eq!(carried_out.load(Ordering::Relaxed), CALLERS * CALLS);
}

#[tokio::test]
async fn a_failure_of_all_reaches_those_that_wait_and_later_callers_are_served() {
    let (batcher, worker) = batcher(LIMITS);
    let pending: Vec<_> = (0..8).map(|number| batcher.submit(number).unwrap()).collect();
    let is_up = AtomicBool::new(false);
    let operation = scripted(move |items| {
        let was_up = is_up.swap(true, Ordering::Relaxed);
        async move { if was_up { Ok(echo(&items)) } else { Err(Failure::All("away")) } }
    });
    let worker = tokio::spawn(worker.run(operation));
    for pending in pending {
        assert_eq!(pending.await, Err(Error::Failed("away")));
    }
    assert_eq!(batcher.call(9).await, Ok(Echo(9)));
    drop(batcher);
    worker.await.unwrap();
}

#[tokio::test]
async fn a_panic_of_the_operation_answers_everyone() {
    let (batcher, worker) = batcher(LIMITS);
    let pending: Vec<_> = (0..8).map(|number| batcher.submit(number).unwrap()).collect();
    let task = tokio::spawn(worker.run(scripted(async |_| -> Outcome { panic!("a defect") })));
    for pending in pending {
        assert_eq!(pending.await, Err(Error::Stopped));
    }
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(batcher.call(8).await, Err(Error::Stopped));
}

#[tokio::test]
async fn a_panic_of_one_worker_leaves_the_queue_to_the_others() {
    let (batcher, worker) = batcher(LIMITS);
    let other = worker.clone();
    let doomed = batcher.submit(0).unwrap();
    let panics = scripted(async |_| -> Outcome { panic!("a defect") });
    assert!(tokio::spawn(worker.run(panics)).await.unwrap_err().is_panic());
    assert_eq!(doomed.await, Err(Error::Stopped));
    let task = tokio::spawn(other.run(scripted(async |items: Vec<usize>| Ok(echo(&items)))));
    assert_eq!(batcher.call(1).await, Ok(Echo(1)));
    drop(batcher);
    task.await.unwrap();
}

#[tokio::test]
async fn an_aborted_worker_answers_everyone() {
    let (batcher, worker) = batcher(LIMITS);
    let pending: Vec<_> = (0..8).map(|number| batcher.submit(number).unwrap()).collect();
    let has_begun = Arc::new(Notify::new());
    let begins = Arc::clone(&has_begun);
    let operation = scripted(move |_| {
        begins.notify_one();
        std::future::pending()
    });
    let task = tokio::spawn(worker.run(operation));
    has_begun.notified().await;
    task.abort();
    for pending in pending {
        assert_eq!(pending.await, Err(Error::Stopped));
    }
}

#[tokio::test]
async fn an_item_without_a_result_does_not_take_that_of_another() {
    let (batcher, worker) = batcher(LIMITS);
    let pending: Vec<_> = (0..8).map(|number| batcher.submit(number).unwrap()).collect();
    drop(batcher);
    worker.run(scripted(async |items: Vec<usize>| Ok(echo(&items[..items.len() - 2])))).await;
    for (pending, number) in pending.into_iter().zip(0..) {
        let expected = if number % 4 < 2 { Ok(Echo(number)) } else { Err(Error::Stopped) };
        assert_eq!(pending.await, expected);
    }
}

/// What a store does with a batch.
#[derive(Debug, Clone)]
struct Store {
    /// Which items it refuses, together with everything in the same batch.
    refused: Vec<bool>,
    /// The call of the operation at which it goes away for good.
    away_at: usize,
}

impl Store {
    fn execute(&self, items: &[usize], history: &mut History) -> Outcome {
        history.calls += 1;
        if history.calls > self.away_at {
            return Err(Failure::Batch("away"));
        }
        if items.iter().any(|item| self.refused[*item]) {
            return Err(Failure::Item("refused"));
        }
        history.done.extend(items);
        Ok(echo(items))
    }

    /// Runs all items through a batcher, in one batch at first.
    fn run(&self) -> (Vec<Result<Echo, Error<&'static str>>>, History) {
        let history = Arc::new(Mutex::new(History::default()));
        let (store, recorded) = (self.clone(), Arc::clone(&history));
        let operation = scripted(move |items| std::future::ready(store.execute(&items, &mut recorded.lock().unwrap())));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers = runtime.block_on(async {
            let count = self.refused.len();
            let (batcher, worker) = batcher(Limits { waiting: count, items: count, ..LIMITS });
            let pending: Vec<_> = (0..count).map(|number| batcher.submit(number).unwrap()).collect();
            drop(batcher);
            worker.run(operation).await;
            let mut answers = Vec::new();
            for pending in pending {
                answers.push(pending.await);
            }
            answers
        });
        let history = std::mem::take(&mut *history.lock().unwrap());
        (answers, history)
    }
}

/// What happened to a store.
#[derive(Debug, Default)]
struct History {
    calls: usize,
    /// Items carried out.
    done: Vec<usize>,
}

fn store() -> impl Strategy<Value = Store> {
    let refused = proptest::collection::vec(proptest::bool::weighted(0.1), 1..64);
    let away_at = prop_oneof![Just(usize::MAX), 0_usize..20];
    (refused, away_at).prop_map(|(refused, away_at)| Store { refused, away_at })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn an_item_at_fault_fails_alone_and_nothing_is_carried_out_twice(store in store()) {
        let (answers, History { calls, done }) = store.run();
        let succeeded: Vec<usize> = (0..answers.len()).filter(|item| answers[*item] == Ok(Echo(*item))).collect();
        prop_assert_eq!(&done, &succeeded, "once, in order");
        for (item, answer) in answers.iter().enumerate() {
            let expected = if store.refused[item] { Err(Error::Failed("refused")) } else { Ok(Echo(item)) };
            let is_away = *answer == Err(Error::Failed("away")) && calls > store.away_at;
            prop_assert!(is_away || *answer == expected, "{}: {:?}", item, answer);
        }
        let culprits = store.refused.iter().filter(|refused| **refused).count();
        let halvings = answers.len().next_power_of_two().ilog2() as usize;
        prop_assert!(calls <= 1 + 2 * culprits * halvings, "{} calls", calls);
    }
}
