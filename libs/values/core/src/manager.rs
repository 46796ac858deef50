//! A manager replica as a state machine: `step(event) -> effects`.
//!
//! The caller runs one pass about every 100 ms: it feeds [`Event::Pass`], runs
//! the effects in order against the store and feeds each answer back. A pass
//! ends when no effects are left, or at the first refusal or failure: what is
//! left of it then is dropped. Every effect but [`Effect::Campaign`] carries
//! the term, and the store refuses it once that term is over, so two managers
//! that both believe to lead do no harm.

use crate::assignment::{self, Transfer};
use crate::scaling::{self, Decision, Scaling, View};
use crate::tables::{Campaign, Observation, is_stale};
use crate::types::{Incarnation, Term};

/// The settings of a manager.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// A worker without a heartbeat for this long is dead. In milliseconds.
    pub dead_after_ms: i64,
    /// Ids moved in one transaction at most, so that ticks run in between.
    pub batch: u64,
    /// How many workers there should be.
    pub scaling: scaling::Policy,
}

/// The longest silence of the database, in milliseconds by its own clock, after
/// which heartbeats still tell a dead worker from one that could not write
/// either. Also what a forward step of that clock may amount to.
pub const CONTACT_GAP_MS: i64 = 1500;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time for a pass.
    Pass,
    /// The answer to [`Effect::Campaign`].
    Campaigned(Campaign),
    /// The answer to [`Effect::Observe`]; `None` under a stale term.
    Observed(Option<Observation>, Replicas),
    /// [`Effect::Expire`] was done; `None` under a stale term.
    Expired(Option<u64>),
    /// [`Effect::Assign`], [`Effect::SetDraining`] was done; `false` under a stale term.
    Done(bool),
    /// The store did not answer. What it did, or may yet do, is unknown: this ends
    /// the term.
    Failed,
}

/// What the scaler knows of the number of workers asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replicas {
    /// There is no scaler, it has not answered yet, or an order is under way.
    Unknown,
    /// So many, read after the last order, if any, was carried out.
    Known(u32),
    /// So many; the last order failed.
    OrderFailed(u32),
}

/// What to do, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Try to take the lease.
    Campaign,
    /// Renew the lease and look.
    Observe(Term),
    /// Declare these workers dead, if they still look so.
    Expire(Term, Vec<Incarnation>),
    /// Move ids.
    Assign(Term, Batch),
    /// Set these workers to draining, or back to active.
    SetDraining(Term, Vec<Incarnation>, bool),
    /// Tell the scaler. Not fenced: it is idempotent and corrected by the next pass.
    Scale {
        /// The new number of workers.
        replicas: u32,
        /// Names of the empty workers to remove.
        victims: Vec<String>,
    },
}

/// A part of a plan, for one transaction.
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
    /// The last term it won, over or not.
    won: Option<Term>,
    scaling: Scaling,
    contact: Option<Contact>,
}

/// Since when, and until when, the database has been answering, by its clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Contact {
    since_ms: i64,
    last_ms: i64,
}

impl Manager {
    /// A replica that does not lead yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, leading: None, won: None, scaling: Scaling::default(), contact: None }
    }

    /// The term it leads under, as far as it knows.
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
        // What it remembers is good if nobody has led in between.
        if self.won.replace(term).is_none_or(|last| last.0 + 1 != term.0) {
            self.scaling = Scaling::default();
        }
        vec![Effect::Observe(term)]
    }

    /// Gives up the term. Moves that were not answered may still be on their way
    /// to the database, planned on what is over by then; the next term, even its
    /// own, shuts them out.
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

    /// Workers to declare dead: silent for too long while the database was there
    /// for them. Right after an outage everybody looks dead, so nobody is.
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
            // Drained before the mode was changed; nobody is going to remove them now.
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
