//! Random histories against a list.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weighed {
    number: usize,
    weight: usize,
}

impl Item for Weighed {
    fn weight(&self) -> usize {
        self.weight
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push {
        weight: usize,
    },
    /// A worker that is awake asks for its next batch.
    Next,
    Clear,
    Close,
}

/// Workers are all alike, so their numbers suffice.
struct World {
    limits: Limits,
    queue: Queue<Weighed>,
    pushed: Vec<Weighed>,
    /// How many of `pushed` were handed out or cleared.
    taken: usize,
    awake: usize,
    asleep: usize,
    is_closed: bool,
}

impl World {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Push { weight } => self.push(weight)?,
            Step::Next if self.awake > 0 => self.next()?,
            Step::Next => {}
            Step::Clear => {
                let cleared: Vec<Weighed> = self.queue.clear().into();
                prop_assert_eq!(&cleared, &self.pushed[self.taken..]);
                self.taken = self.pushed.len();
            }
            Step::Close => {
                self.queue.close();
                self.is_closed = true;
                // The semaphore that workers sleep on is closed, too.
                self.awake += std::mem::take(&mut self.asleep);
            }
        }
        prop_assert_eq!(self.queue.len(), self.pushed.len() - self.taken);
        prop_assert!(self.queue.len() == 0 || self.awake > 0, "items wait and every worker sleeps");
        Ok(())
    }

    fn push(&mut self, weight: usize) -> Result<(), TestCaseError> {
        let item = Weighed { number: self.pushed.len(), weight };
        let expected = if self.is_closed {
            Err(Refused::Closed)
        } else if self.pushed.len() - self.taken == self.limits.waiting {
            Err(Refused::Full)
        } else {
            self.pushed.push(item);
            Ok(self.asleep > 0)
        };
        prop_assert_eq!(self.queue.push(item), expected);
        self.wake(expected == Ok(true));
        Ok(())
    }

    fn next(&mut self) -> Result<(), TestCaseError> {
        let mut batch = Vec::new();
        let next = self.queue.next(&mut batch);
        let (expected, left) = self.pushed[self.taken..].split_at(batch.len());
        prop_assert_eq!(&*batch, expected, "in order");
        self.taken += batch.len();
        match next {
            Next::Batch { wake } => {
                self.is_as_large_as_allowed(&batch, left.first())?;
                prop_assert_eq!(wake, !left.is_empty() && self.asleep > 0);
                self.wake(wake);
            }
            Next::Sleep => {
                prop_assert!(batch.is_empty() && left.is_empty() && !self.is_closed);
                self.awake -= 1;
                self.asleep += 1;
            }
            Next::End => prop_assert!(batch.is_empty() && left.is_empty() && self.is_closed),
        }
        Ok(())
    }

    fn is_as_large_as_allowed(&self, batch: &[Weighed], next: Option<&Weighed>) -> Result<(), TestCaseError> {
        prop_assert!(self.is_allowed(batch), "{:?}", batch);
        if let Some(next) = next {
            let larger = [batch, &[*next]].concat();
            prop_assert!(!self.is_allowed(&larger), "{:?} had room for {:?}", batch, next);
        }
        Ok(())
    }

    fn is_allowed(&self, batch: &[Weighed]) -> bool {
        let weight = batch.iter().fold(0, |sum: usize, item| sum.saturating_add(item.weight));
        let is_heavy = |item: &Weighed| item.weight >= self.limits.weight;
        let within = batch.len() <= self.limits.items && weight <= self.limits.weight && !batch.iter().any(is_heavy);
        batch.len() == 1 || (!batch.is_empty() && within)
    }

    fn wake(&mut self, wake: bool) {
        self.asleep -= usize::from(wake);
        self.awake += usize::from(wake);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let weight = prop_oneof![8 => 0_usize..6, 1 => Just(10), 1 => Just(usize::MAX)];
    let step = prop_oneof![
        20 => weight.prop_map(|weight| Step::Push { weight }),
        16 => Just(Step::Next),
        1 => Just(Step::Clear),
        1 => Just(Step::Close),
    ];
    vec(step, 0..80)
}

fn limits() -> impl Strategy<Value = Limits> {
    let weight = prop_oneof![1_usize..12, Just(usize::MAX)];
    (1_usize..10, 1_usize..6, weight).prop_map(|(waiting, items, weight)| Limits { waiting, items, weight })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn batches_are_in_order_bounded_and_never_held_up(limits in limits(), workers in 1_usize..4, steps in steps()) {
        let queue = Queue::new(limits);
        let mut world =
            World { limits, queue, pushed: Vec::new(), taken: 0, awake: workers, asleep: 0, is_closed: false };
        steps.iter().try_for_each(|step| world.step(step))?;
        // At the end the workers hand out everything that is left.
        world.step(&Step::Close)?;
        for _ in 0..world.pushed.len() {
            world.step(&Step::Next)?;
        }
        prop_assert_eq!(world.taken, world.pushed.len());
    }
}
