//! States of the protocol, and the size of a search.

use std::collections::BTreeMap;

use values_core::manager::{self, Effect, Manager};
use values_core::scaling;
use values_core::tables::Tables;
use values_core::types::{Incarnation, Token, ValueRow};
use values_core::worker::{Command, Outcome, Worker};

use crate::database;

/// The size of a search and the faults in it. Each number of the budget is how often the
/// fault may occur on one path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    /// Number of rows at the start, with ids from 1.
    pub(crate) ids: i64,
    /// Number of pods at the start, each with a registered worker.
    pub(crate) pods: u32,
    /// Highest number of pods.
    pub(crate) max_pods: u32,
    pub(crate) managers: usize,
    pub(crate) capacity: u32,
    /// Highest number of ids in one transaction.
    pub(crate) batch: u64,
    /// Whether and how the managers scale the workers.
    pub(crate) scaling: scaling::Mode,
    /// Whether bare heartbeats, and full ticks after light ones, are separate steps. If
    /// not, each one follows its tick within the same step.
    pub(crate) every_step: bool,
    /// Highest number of registrations.
    pub(crate) lives: i64,
    /// Highest number of terms.
    pub(crate) terms: i64,
    pub(crate) budget: Budget,
}

/// The events and faults that are left on this path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Seconds that pass.
    pub(crate) seconds: u8,
    /// Times that the clock steps back by one second.
    pub(crate) steps_back: u8,
    /// Workers declared dead, rightly or not.
    pub(crate) expiries: u8,
    /// Commands whose sender gives up waiting, and that may still arrive.
    pub(crate) given_up: u8,
    /// Commands that arrive twice.
    pub(crate) twice: u8,
    /// Times that the latest registrations, or all, are lost.
    pub(crate) lost_registrations: u8,
    /// Times that the row of the lease is lost.
    pub(crate) lost_leases: u8,
    pub(crate) worker_crashes: u8,
    pub(crate) manager_crashes: u8,
    /// Workers that an operator terminates.
    pub(crate) terminations: u8,
    pub(crate) added_rows: u8,
    pub(crate) removed_rows: u8,
    /// Pods that the platform removes instead of the requested ones.
    pub(crate) wrong_kills: u8,
    /// Changes of the number of replicas by an operator.
    pub(crate) hand_scales: u8,
}

/// State of the whole system at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) tables: Tables,
    /// The worker in each pod; `None` if there is no pod in this place.
    pub(crate) pods: Vec<Option<Worker>>,
    pub(crate) managers: Vec<Replica>,
    /// Commands whose sender has given up. They arrive late or never, and their answers
    /// are lost.
    pub(crate) strays: Vec<Sent>,
    /// The number of replicas of the Deployment.
    pub(crate) replicas: u32,
    /// Number of registrations so far. The latest one has it as its token.
    pub(crate) lives: i64,
    /// Number of terms so far. The latest one has it as its token.
    pub(crate) reigns: i64,
    pub(crate) ledger: BTreeMap<i64, Account>,
    pub(crate) budget: Budget,
    /// Rules that the last step broke; see `properties`.
    pub(crate) broken: u16,
}

/// A manager, and the effects that it has not executed yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) manager: Manager,
    pub(crate) queue: Vec<Effect>,
}

/// A command in transit to the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sent {
    Worker(usize, Command),
    Manager(Effect),
}

/// The model's own record of an id, which no production code writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    /// The second at which the row was added.
    pub(crate) added: i64,
    /// For each second of the run, how often the row has counted it.
    pub(crate) counted: [u8; 8],
    /// Whether the row was taken over from a dead owner and has not been ticked since.
    pub(crate) taken_over: bool,
}

impl Account {
    const fn new(added: i64) -> Self {
        Self { added, counted: [0; 8], taken_over: false }
    }
}

impl Config {
    /// The initial state of every search: all workers are registered, all ids are new,
    /// and no manager leads.
    pub(crate) fn start(&self) -> State {
        let mut state = State {
            tables: Tables::default(),
            pods: vec![None; self.max_pods as usize],
            managers: vec![self.replica(); self.managers],
            strays: Vec::new(),
            replicas: self.pods,
            lives: 0,
            reigns: 0,
            ledger: BTreeMap::new(),
            budget: self.budget,
            broken: 0,
        };
        state.tables.now_ms = 1000;
        for pod in 0..self.pods as usize {
            let mut worker = Worker::new();
            state.lives += 1;
            let registration = state.tables.register(&pod_name(pod), self.capacity, Token(state.lives));
            worker.apply(&Outcome::Registered(registration));
            state.pods[pod] = Some(worker);
        }
        database::forget_clocks(&mut state.tables);
        for _ in 0..self.ids {
            state.add_row();
        }
        state
    }

    /// A manager process that has just started. Its time limits are zero, so that each
    /// action is possible at once.
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

    /// Adds the next id, with a different value for each.
    pub(crate) fn add_row(&mut self) {
        let id = self.ledger.last_key_value().map_or(1, |(id, _)| id + 1);
        let second = self.second();
        self.tables.values.insert(id, ValueRow::new(id, 10 * id, second));
        self.ledger.insert(id, Account::new(second));
    }

    /// Removes an id for good. Its account stays, so that no id is used again.
    pub(crate) fn remove_row(&mut self, id: i64) {
        self.tables.values.remove(&id);
        self.ledger.insert(id, Account::new(0));
    }

    /// Number of rows that `owner` owns.
    pub(crate) fn load(&self, owner: Option<Incarnation>) -> usize {
        self.tables.values.values().filter(|row| row.owner == owner).count()
    }

    /// Places of the pods that exist.
    pub(crate) fn existing_pods(&self) -> impl Iterator<Item = usize> + '_ {
        self.pods.iter().enumerate().filter(|(_, pod)| pod.is_some()).map(|(pod, _)| pod)
    }
}

/// Name of a pod, which does not change when its container restarts.
pub(crate) fn pod_name(pod: usize) -> String {
    format!("w{pod}")
}
