//! A manager replica as a state machine: `step(event) -> effects`.
//!
//! The caller runs a pass about every 100 ms: it feeds [`Event::Pass`], runs the effects
//! in order against the store, and feeds each answer back. A pass ends when no effects
//! are left, or at the first refusal or failure, which drops the remaining effects.
//! Every effect but [`Effect::Campaign`] carries the term. The store refuses it once the
//! term is over, so two managers that both believe that they lead do no harm.

use crate::assignment::{self, Transfer};
use crate::scaling::{self, Decision, Scaling, View};
use crate::tables::{Campaign, Observation, is_stale};
use crate::types::{Incarnation, Term};

/// The configuration of a manager.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Milliseconds without a heartbeat after which a worker is dead.
    pub dead_after_ms: i64,
    /// Maximum number of ids moved in one transaction, so that ticks run in between.
    pub batch: u64,
    /// How the number of workers is decided.
    pub scaling: scaling::Policy,
}

/// The longest gap between two answers of the database, in milliseconds by its clock,
/// that does not count as an outage. After a longer one, a missing heartbeat does not
/// mean that a worker is dead. Forward steps of the clock up to this size do no harm.
pub const CONTACT_GAP_MS: i64 = 1500;

/// An input of the state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A pass begins.
    Pass,
    /// The answer to [`Effect::Campaign`].
    Campaigned(Campaign),
    /// The answer to [`Effect::Observe`]; `None` under a stale term.
    Observed(Option<Observation>, Replicas),
    /// [`Effect::Expire`] was done; `None` under a stale term.
    Expired(Option<u64>),
    /// [`Effect::Assign`], [`Effect::SetDraining`] was done; `false` under a stale term.
    Done(bool),
    /// The store did not answer. It is unknown whether the effect was or will be applied,
    /// so the term ends.
    Failed,
}

/// The number of workers that the platform is asked to run, as far as the scaler knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replicas {
    /// There is no scaler, it has not answered yet, or an order is being executed.
    Unknown,
    /// The number, read after the last order was executed.
    Known(u32),
    /// The number, read after the last order failed.
    OrderFailed(u32),
}

/// An output of the state machine. Effects are run in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Try to take the lease.
    Campaign,
    /// Renew the lease, and read the workers and their loads.
    Observe(Term),
    /// Declare these workers dead, if their heartbeats are still too old.
    Expire(Term, Vec<Incarnation>),
    /// Move ids.
    Assign(Term, Batch),
    /// Set these workers to draining, or back to active.
    SetDraining(Term, Vec<Incarnation>, bool),
    /// Ask the scaler for a number of workers. Not fenced: it is idempotent, and the next
    /// pass corrects it.
    Scale {
        /// The new number of workers.
        replicas: u32,
        /// Names of the workers without ids, to be removed.
        victims: Vec<String>,
    },
}

/// The part of a plan that one transaction carries out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Batch {
    /// The moves.
    pub transfers: Vec<Transfer>,
    /// This batch's share of the fewest moves that balance needs.
    pub optimum: u64,
}

/// One manager replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Manager {
    policy: Policy,
    leading: Option<Term>,
    /// The last term that it won, which may be over.
    won: Option<Term>,
    scaling: Scaling,
    contact: Option<Contact>,
}

/// The time during which the database has been answering, by its clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Contact {
    since_ms: i64,
    last_ms: i64,
}

impl Manager {
    /// A replica that does not lead.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, leading: None, won: None, scaling: Scaling::default(), contact: None }
    }

    /// The term under which the replica leads, as far as it knows.
    #[must_use]
    pub const fn term(&self) -> Option<Term> {
        self.leading
    }

    /// Reacts to `event`.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Pass => vec![self.leading.map_or(Effect::Campaign, Effect::Observe)],
            Event::Campaigned(campaign) => self.campaigned(&campaign),
            Event::Observed(Some(observation), replicas) => self.observed(&observation, replicas),
            Event::Expired(Some(_)) => self.leading.map(Effect::Observe).into_iter().collect(),
            Event::Done(true) => Vec::new(),
            Event::Observed(None, _) | Event::Expired(None) | Event::Done(false) => {
                self.leading = None;
                Vec::new()
            }
            Event::Failed => self.failed(),
        }
    }

    fn campaigned(&mut self, campaign: &Campaign) -> Vec<Effect> {
        self.note_contact(campaign.now_ms);
        self.leading = campaign.won;
        let Some(term) = campaign.won else { return Vec::new() };
        // The remembered state is valid if no other manager has led in between.
        if self.won.replace(term).is_none_or(|last| last.number + 1 != term.number) {
            self.scaling = Scaling::default();
        }
        vec![Effect::Observe(term)]
    }

    /// Gives up the term. Moves that were not answered may still reach the database,
    /// planned on an outdated state; the next term, even this replica's own, fences them.
    fn failed(&mut self) -> Vec<Effect> {
        self.leading = None;
        self.scaling.forget_order();
        Vec::new()
    }

    fn observed(&mut self, observation: &Observation, replicas: Replicas) -> Vec<Effect> {
        self.note_contact(observation.now_ms);
        let Some(term) = self.leading else { return Vec::new() };
        let stale = self.stale(observation);
        if !stale.is_empty() {
            return vec![Effect::Expire(term, stale)];
        }
        let mut effects: Vec<Effect> = self.batches(observation).map(|batch| Effect::Assign(term, batch)).collect();
        effects.extend(self.scale(term, observation, replicas));
        effects
    }

    /// Workers to declare dead: those without a heartbeat for too long while the database
    /// was answering. Right after an outage no worker has a recent heartbeat, so none is
    /// declared dead.
    fn stale(&self, observation: &Observation) -> Vec<Incarnation> {
        let trusted = self
            .contact
            .as_ref()
            .is_some_and(|contact| observation.now_ms - contact.since_ms >= self.policy.dead_after_ms);
        let silent = |heartbeat| is_stale(heartbeat, observation.now_ms, self.policy.dead_after_ms);
        let workers = observation.workers.iter().filter(|worker| trusted && silent(worker.heartbeat));
        workers.map(|worker| worker.incarnation).collect()
    }

    fn note_contact(&mut self, now_ms: i64) {
        let gap = self.contact.as_ref().map(|contact| now_ms - contact.last_ms);
        match &mut self.contact {
            Some(contact) if gap.is_some_and(|gap| (0..=CONTACT_GAP_MS).contains(&gap)) => contact.last_ms = now_ms,
            contact => *contact = Some(Contact { since_ms: now_ms, last_ms: now_ms }),
        }
    }

    /// The plan, cut into transactions of at most `batch` moves.
    fn batches(&self, observation: &Observation) -> impl Iterator<Item = Batch> + use<> {
        let (workers, orphans) = observation.fleet();
        let plan = assignment::plan(&workers, &orphans);
        let limit = self.policy.batch.max(1);
        let mut optimum = plan.optimum;
        let mut waiting = plan.transfers.into_iter().peekable();
        std::iter::from_fn(move || {
            let mut transfers: Vec<Transfer> = Vec::new();
            let mut room = limit;
            while room > 0 {
                let Some(next) = waiting.peek_mut() else { break };
                let count = next.count.min(room);
                transfers.push(Transfer { count, ..next.clone() });
                room -= count;
                next.count -= count;
                if next.count == 0 {
                    waiting.next();
                }
            }
            let share = if waiting.peek().is_some() { optimum.min(limit) } else { optimum };
            optimum -= share;
            (!transfers.is_empty()).then_some(Batch { transfers, optimum: share })
        })
    }

    fn scale(&mut self, term: Term, observation: &Observation, replicas: Replicas) -> Option<Effect> {
        if self.policy.scaling.mode == scaling::Mode::Manual {
            // Drained before the mode was changed to manual; they will not be removed now.
            let drained = scaling::drained(observation.workers.iter());
            return (!drained.is_empty()).then_some(Effect::SetDraining(term, drained, false));
        }
        let replicas = match replicas {
            Replicas::Unknown => return None,
            Replicas::Known(replicas) => replicas,
            Replicas::OrderFailed(replicas) => {
                self.scaling = Scaling::default();
                replicas
            }
        };
        let workers: Vec<_> =
            observation.workers.iter().map(|worker| (worker.clone(), observation.load(worker.incarnation))).collect();
        let view = View { now_ms: observation.now_ms, ids: observation.ids(), replicas, workers: &workers };
        match self.scaling.decide(&self.policy.scaling, &view) {
            Decision::Keep => None,
            Decision::Scale { replicas, victims } => Some(Effect::Scale { replicas, victims }),
            Decision::Drain(workers) => Some(Effect::SetDraining(term, workers, true)),
            Decision::Reactivate(workers) => Some(Effect::SetDraining(term, workers, false)),
        }
    }
}
