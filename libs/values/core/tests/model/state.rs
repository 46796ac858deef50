//! What a state of the protocol is made of, and how big a search may get.

use std::collections::BTreeMap;

use values_core::manager::{self, Effect, Manager};
use values_core::scaling;
use values_core::tables::Tables;
use values_core::types::{Incarnation, ValueRow};
use values_core::worker::{Command, Outcome, Worker};

use crate::database;

/// The size of a search and the faults in it. Each number is how often the thing
/// may happen on one path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    /// Rows at the start, ids 1 and up.
    pub(crate) ids: i64,
    /// Pods at the start, each with a registered worker.
    pub(crate) pods: u32,
    /// Places for pods.
    pub(crate) max_pods: u32,
    pub(crate) managers: usize,
    pub(crate) capacity: u32,
    /// Ids per transaction.
    pub(crate) batch: u64,
    /// Whether the managers also decide on the number of workers.
    pub(crate) scaling: scaling::Mode,
    /// Whether bare heartbeats, and full ticks after light ones, are commands of
    /// their own; otherwise each one follows its tick at once.
    pub(crate) every_step: bool,
    /// Incarnations handed out at most.
    pub(crate) lives: i64,
    /// Terms won at most.
    pub(crate) terms: i64,
    pub(crate) budget: Budget,
}

/// What may still happen on this path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Seconds that pass.
    pub(crate) seconds: u8,
    /// Times that the clock steps back by one second.
    pub(crate) steps_back: u8,
    /// Workers declared dead, rightly or not.
    pub(crate) expiries: u8,
    /// Commands that their sender gives up, and that may still arrive.
    pub(crate) given_up: u8,
    /// Commands that arrive twice.
    pub(crate) twice: u8,
    pub(crate) worker_crashes: u8,
    pub(crate) manager_crashes: u8,
    /// Workers asked to end by an operator.
    pub(crate) terminations: u8,
    pub(crate) added_rows: u8,
    pub(crate) removed_rows: u8,
    /// Pods that the platform removed instead of the requested ones.
    pub(crate) wrong_kills: u8,
    /// Replicas set by an operator.
    pub(crate) hand_scales: u8,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) tables: Tables,
    /// The worker in each pod; `None` is a place without a pod.
    pub(crate) pods: Vec<Option<Worker>>,
    pub(crate) managers: Vec<Replica>,
    /// Commands that arrive late or never, and whose answers are lost.
    pub(crate) strays: Vec<Sent>,
    /// What the Deployment asks for.
    pub(crate) replicas: u32,
    /// Incarnations handed out so far.
    pub(crate) lives: i64,
    pub(crate) ledger: BTreeMap<i64, Account>,
    pub(crate) budget: Budget,
    /// Rules broken by the step that led here; see `properties`.
    pub(crate) broken: u16,
}

/// A manager and the effects it has not run yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) manager: Manager,
    pub(crate) queue: Vec<Effect>,
}

/// A command on its way to the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sent {
    Worker(usize, Command),
    Manager(Effect),
}

/// The model's own books on one id, which no production code writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    /// The second at which the row was added.
    pub(crate) added: i64,
    /// How often each second of the run has been counted.
    pub(crate) counted: [u8; 8],
    /// Taken from a dead owner and not ticked since.
    pub(crate) taken_over: bool,
}

impl Account {
    const fn new(added: i64) -> Self {
        Self { added, counted: [0; 8], taken_over: false }
    }
}

impl Config {
    /// The state in which every search starts: all workers are registered, all
    /// ids are new, no manager leads.
    pub(crate) fn start(&self) -> State {
        let mut state = State {
            tables: Tables::default(),
            pods: vec![None; self.max_pods as usize],
            managers: vec![self.replica(); self.managers],
            strays: Vec::new(),
            replicas: self.pods,
            lives: 0,
            ledger: BTreeMap::new(),
            budget: self.budget,
            broken: 0,
        };
        state.tables.now_ms = 1000;
        for pod in 0..self.pods as usize {
            let mut worker = Worker::new();
            worker.apply(&Outcome::Registered(state.tables.register(&pod_name(pod), self.capacity)));
            state.pods[pod] = Some(worker);
            state.lives += 1;
        }
        database::forget_clocks(&mut state.tables);
        for _ in 0..self.ids {
            state.add_row();
        }
        state
    }

    /// A manager process that has just started. Its time limits are zero, so
    /// that it does at once whatever it may do at all.
    pub(crate) fn replica(&self) -> Replica {
        let policy = manager::Policy {
            dead_after_ms: 0,
            batch: self.batch,
            scaling: scaling::Policy {
                mode: self.scaling,
                capacity: self.capacity,
                spare: 0,
                min: 1,
                max: self.max_pods,
                quiet_window_ms: 0,
            },
        };
        Replica { manager: Manager::new(policy), queue: Vec::new() }
    }
}

impl State {
    /// The second by the database's clock.
    pub(crate) const fn second(&self) -> i64 {
        self.tables.now_ms / 1000
    }

    /// Adds the next id, with a value of its own.
    pub(crate) fn add_row(&mut self) {
        let id = self.ledger.last_key_value().map_or(1, |(id, _)| id + 1);
        let second = self.second();
        self.tables.values.insert(id, ValueRow::new(id, 10 * id, second));
        self.ledger.insert(id, Account::new(second));
    }

    /// Removes an id for good. Its account stays, so that no id comes twice.
    pub(crate) fn remove_row(&mut self, id: i64) {
        self.tables.values.remove(&id);
        self.ledger.insert(id, Account::new(0));
    }

    /// How many rows `owner` owns, by the rows.
    pub(crate) fn load(&self, owner: Option<Incarnation>) -> usize {
        self.tables.values.values().filter(|row| row.owner == owner).count()
    }

    /// The place of each pod that exists.
    pub(crate) fn existing_pods(&self) -> impl Iterator<Item = usize> + '_ {
        self.pods.iter().enumerate().filter(|(_, pod)| pod.is_some()).map(|(pod, _)| pod)
    }
}

/// A pod keeps its name when its container restarts.
pub(crate) fn pod_name(pod: usize) -> String {
    format!("w{pod}")
}
