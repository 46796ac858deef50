//! Decisions on the number of workers, in a simulated cluster.

use proptest::collection::vec;
use proptest::prelude::*;
use values_core::assignment::{Orphans, WorkerLoad, plan};
use values_core::scaling::{Decision, Mode, Policy, Scaling, View};
use values_core::types::{Incarnation, Token, WorkerRow, WorkerState};

use crate::many;

const WINDOW_MS: i64 = 10_000;
const PASS_MS: i64 = 1_000;

/// Highest number of ids that the most workers can own. With more ids, workers that an
/// operator adds are kept while they are needed.
const MOST_IDS: u64 = 30;

fn policy() -> Policy {
    Policy { mode: Mode::Auto, capacity: 5, spare: 1, min: 1, max: 6, quiet_window_ms: WINDOW_MS }
}

/// A Deployment and its workers. Pods start and end within a pass, and the production
/// planner moves ids between passes.
struct Cluster {
    policy: Policy,
    scaling: Scaling,
    now_ms: i64,
    ids: u64,
    replicas: u32,
    workers: Vec<(WorkerRow, u64)>,
    next: i64,
}

impl Cluster {
    fn new(policy: Policy, ids: u64) -> Self {
        let replicas = policy.desired(ids);
        let workers = Vec::new();
        let mut cluster = Self { policy, scaling: Scaling::default(), now_ms: 0, ids, replicas, workers, next: 1 };
        cluster.reconcile(&[]);
        cluster
    }

    /// Starts missing pods and removes surplus ones: the named pods first, then any.
    /// Returns the number of ids that the removed pods had.
    fn reconcile(&mut self, victims: &[String]) -> u64 {
        while self.workers.len() < self.replicas as usize {
            self.workers.push((self.pod(format!("w{}", self.next)), 0));
            self.next += 1;
        }
        let mut removed = 0;
        self.workers.sort_by_key(|(worker, _)| (victims.contains(&worker.name), worker.incarnation));
        while self.workers.len() > self.replicas as usize {
            removed += self.workers.pop().map_or(0, |(_, load)| load);
        }
        self.spread();
        removed
    }

    fn pod(&self, name: String) -> WorkerRow {
        let incarnation = Incarnation(self.next);
        let (state, capacity) = (WorkerState::Active, self.policy.capacity);
        WorkerRow { incarnation, name, state, capacity, heartbeat: 0, generation: 0, token: Token::default() }
    }

    /// Assigns every id to a worker, as the manager's next pass would.
    fn spread(&mut self) {
        let workers: Vec<WorkerLoad> = self
            .workers
            .iter()
            .map(|(worker, load)| WorkerLoad {
                incarnation: worker.incarnation,
                state: worker.state,
                capacity: u64::from(worker.capacity),
                load: *load,
            })
            .collect();
        let owned: u64 = workers.iter().map(|worker| worker.load).sum();
        let orphans = [Orphans { owner: None, count: self.ids.saturating_sub(owned) }];
        for transfer in plan(&workers, &orphans).transfers {
            for (worker, load) in &mut self.workers {
                if transfer.from == Some(worker.incarnation) {
                    *load -= transfer.count;
                }
                if transfer.to == worker.incarnation {
                    *load += transfer.count;
                }
            }
        }
    }

    /// Adds ids, or removes them from the workers with the most.
    fn set_ids(&mut self, ids: u64) {
        while self.ids > ids {
            if let Some((_, load)) = self.workers.iter_mut().max_by_key(|(_, load)| *load) {
                *load = load.saturating_sub(1);
            }
            self.ids -= 1;
        }
        self.ids = ids;
        self.spread();
    }

    fn hand_scale(&mut self, replicas: u32) {
        self.replicas = replicas;
        self.reconcile(&[]);
    }

    /// Runs one pass of the manager. Returns its decision, and the number of ids that
    /// lost their worker.
    fn pass(&mut self) -> (Decision, u64) {
        self.now_ms += PASS_MS;
        let view = View { now_ms: self.now_ms, ids: self.ids, replicas: self.replicas, workers: &self.workers };
        let decision = self.scaling.decide(&self.policy, &view);
        let lost = match &decision {
            Decision::Keep => 0,
            Decision::Scale { replicas, victims } => {
                self.replicas = *replicas;
                self.reconcile(victims)
            }
            Decision::Drain(workers) => self.set_state(workers, WorkerState::Draining),
            Decision::Reactivate(workers) => self.set_state(workers, WorkerState::Active),
        };
        self.spread();
        (decision, lost)
    }

    fn set_state(&mut self, workers: &[Incarnation], state: WorkerState) -> u64 {
        for (worker, _) in self.workers.iter_mut().filter(|(worker, _)| workers.contains(&worker.incarnation)) {
            worker.state = state;
        }
        0
    }

    /// Runs passes until nothing has changed for three windows. Returns the number of
    /// changes.
    fn settle(&mut self) -> usize {
        let mut changes = 0;
        let mut quiet = 0;
        while quiet < 3 * WINDOW_MS / PASS_MS {
            let (decision, _) = self.pass();
            quiet = if decision == Decision::Keep { quiet + 1 } else { 0 };
            changes += usize::from(decision != Decision::Keep);
            assert!(changes < 100, "it flaps");
        }
        changes
    }
}

/// A change of the cluster between two passes.
#[derive(Debug, Clone)]
enum Step {
    Wait,
    Ids(u64),
    HandScale(u32),
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Wait),
        2 => (0..=MOST_IDS).prop_map(Step::Ids),
        1 => (1_u32..8).prop_map(Step::HandScale),
        1 => (0_usize..6).prop_map(Step::Crash),
    ]
}

impl Cluster {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Wait => {}
            Step::Ids(ids) => self.set_ids(*ids),
            Step::HandScale(replicas) => self.hand_scale(*replicas),
            Step::Crash(at) => {
                // The container restarts in its pod, as a new incarnation without ids.
                if let Some((worker, _)) = self.workers.get(*at) {
                    let name = worker.name.clone();
                    self.workers[*at] = (self.pod(name), 0);
                    self.next += 1;
                    self.spread();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn desired_is_what_the_ids_need_within_bounds(
        ids in prop_oneof![0_u64..1000, any::<u64>()], capacity in 0_u32..50, spare in 0_u32..5, min in 0_u32..5, more in 0_u32..100
    ) {
        let policy = Policy { capacity, spare, min, max: min + more, ..policy() };
        let desired = policy.desired(ids);
        prop_assert!((policy.min..=policy.max).contains(&desired));
        let slots = u128::from(desired.saturating_sub(spare)) * u128::from(capacity.max(1));
        prop_assert!(desired == policy.max || slots >= u128::from(ids), "enough");
        let fewer = u128::from(desired.saturating_sub(spare + 1)) * u128::from(capacity.max(1));
        prop_assert!(desired == policy.min || ids == 0 || fewer < u128::from(ids), "not too many");
    }

    #[test]
    fn workers_with_ids_are_never_scaled_away(ids in 0_u64..30, steps in vec(step(), 0..80)) {
        let mut cluster = Cluster::new(policy(), ids);
        for step in steps {
            cluster.apply(&step);
            let (decision, lost) = cluster.pass();
            prop_assert_eq!(lost, 0, "{:?}", decision);
        }
    }

    #[test]
    fn it_settles_on_what_is_desired_whatever_happened(ids in 0_u64..30, steps in vec(step(), 0..80)) {
        let mut cluster = Cluster::new(policy(), ids);
        for step in steps {
            cluster.apply(&step);
            cluster.pass();
        }
        cluster.settle();
        prop_assert_eq!(cluster.replicas, cluster.policy.desired(cluster.ids));
        prop_assert!(cluster.workers.iter().all(|(worker, _)| worker.state == WorkerState::Active));
        let placed: u64 = cluster.workers.iter().map(|(_, load)| load).sum();
        prop_assert_eq!(placed, cluster.ids.min(u64::from(cluster.replicas * cluster.policy.capacity)));
        prop_assert_eq!(cluster.settle(), 0);
    }

    #[test]
    fn more_ids_scale_up_at_once(ids in 0_u64..10, more in 6_u64..15) {
        let mut cluster = Cluster::new(policy(), ids);
        cluster.pass();
        cluster.set_ids(ids + more);
        let desired = cluster.policy.desired(ids + more);
        cluster.pass();
        prop_assert_eq!(cluster.replicas, desired);
    }

    #[test]
    fn it_goes_down_only_after_fewer_have_sufficed_for_the_window(
        counts in vec(0_u64..30, 1..60)
    ) {
        let mut cluster = Cluster::new(policy(), 29);
        let mut desired = Vec::new();
        for ids in counts {
            cluster.set_ids(ids);
            let before = cluster.replicas;
            desired.push(cluster.policy.desired(ids));
            let (decision, _) = cluster.pass();
            if cluster.replicas < before || matches!(decision, Decision::Drain(_)) {
                let window = usize::try_from(WINDOW_MS / PASS_MS).expect("small") + 1;
                prop_assert!(desired.len() >= window);
                let most = desired[desired.len() - window..].iter().max().copied().unwrap_or(0);
                prop_assert!(most < before, "{} were needed in the window, {} were there", most, before);
                prop_assert!(most <= cluster.replicas);
            }
        }
    }

    #[test]
    fn a_scale_by_hand_is_left_alone_for_the_window(ids in 0_u64..25, other in 1_u32..7, before in 1_usize..30) {
        let mut cluster = Cluster::new(policy(), ids);
        for _ in 0..before {
            cluster.pass();
        }
        let replicas = if other < cluster.replicas { other } else { other + 1 };
        cluster.hand_scale(replicas);
        for _ in 0..WINDOW_MS / PASS_MS {
            let (decision, _) = cluster.pass();
            prop_assert_eq!(decision, Decision::Keep);
            prop_assert_eq!(cluster.replicas, replicas);
        }
        cluster.settle();
        prop_assert_eq!(cluster.replicas, cluster.policy.desired(ids));
    }

    #[test]
    fn more_ids_end_a_scale_by_hand(ids in 5_u64..15, more in 6_u64..10) {
        let mut cluster = Cluster::new(policy(), ids);
        cluster.pass();
        cluster.hand_scale(1);
        cluster.pass();
        prop_assert_eq!(cluster.replicas, 1);
        cluster.set_ids(ids + more);
        cluster.pass();
        prop_assert_eq!(cluster.replicas, cluster.policy.desired(ids + more));
    }

    #[test]
    fn a_clock_that_steps_back_delays_it_by_a_window_at_most(back_ms in 1_i64..10_000_000, by_hand in any::<bool>()) {
        let mut cluster = Cluster::new(policy(), 20);
        cluster.now_ms = 20_000_000;
        cluster.pass();
        if by_hand {
            cluster.hand_scale(1);
        } else {
            cluster.set_ids(0);
        }
        cluster.pass();
        cluster.now_ms -= back_ms;
        for _ in 0..=WINDOW_MS / PASS_MS + 2 {
            cluster.pass();
        }
        prop_assert_eq!(cluster.replicas, cluster.policy.desired(cluster.ids));
    }
}

#[test]
fn drained_workers_go_back_to_work_when_ids_come() {
    let mut cluster = Cluster::new(policy(), 20);
    cluster.set_ids(0);
    let drained = |cluster: &Cluster| cluster.workers.iter().any(|(worker, _)| worker.state == WorkerState::Draining);
    while !drained(&cluster) {
        cluster.pass();
    }
    cluster.set_ids(20);
    cluster.pass();
    assert!(!drained(&cluster));
    assert_eq!(cluster.replicas, cluster.policy.desired(20));
}

#[test]
fn the_former_life_of_a_pod_is_neither_counted_nor_removed() {
    let mut scaling = Scaling::default();
    let policy = Policy { spare: 0, quiet_window_ms: 0, ..policy() };
    let life = |incarnation, name: &str, state, load| {
        let name = name.to_owned();
        let incarnation = Incarnation(incarnation);
        (
            WorkerRow { incarnation, name, state, capacity: 5, heartbeat: 0, generation: 0, token: Token::default() },
            load,
        )
    };
    let (active, draining) = (WorkerState::Active, WorkerState::Draining);
    let workers =
        [life(1, "a", active, 5), life(2, "b", draining, 0), life(3, "c", draining, 0), life(4, "b", active, 5)];
    let view = View { now_ms: 0, ids: 10, replicas: 3, workers: &workers };
    assert_eq!(scaling.decide(&policy, &view), Decision::Scale { replicas: 2, victims: vec!["c".to_owned()] });
}
