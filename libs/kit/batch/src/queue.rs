//! The items that wait, and which of them form the next batch. Pure: no I/O, no clock, no
//! lock.

use std::collections::VecDeque;

use crate::Limits;

/// An item of a queue.
pub(crate) trait Item {
    /// The share of [`Limits::weight`].
    fn weight(&self) -> usize;
}

/// A bounded first-in, first-out queue that hands out batches to workers.
pub(crate) struct Queue<T> {
    limits: Limits,
    waiting: VecDeque<T>,
    /// Workers that sleep and have not been woken.
    idle: usize,
    is_closed: bool,
}

/// Why an item was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// What a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Carry out a batch; first wake another worker if `wake`, since items are left for it.
    Batch { wake: bool },
    /// Sleep until woken.
    Sleep,
    /// End: the queue is closed and empty.
    End,
}

impl<T: Item> Queue<T> {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, waiting: VecDeque::new(), idle: 0, is_closed: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Appends an item. Returns whether to wake a worker.
    pub(crate) fn push(&mut self, item: T) -> Result<bool, Refused> {
        if self.is_closed {
            return Err(Refused::Closed);
        }
        if self.waiting.len() >= self.limits.waiting.max(1) {
            return Err(Refused::Full);
        }
        self.waiting.push_back(item);
        Ok(self.wake())
    }

    /// Moves the items of the next batch from the front to the end of `batch`.
    pub(crate) fn next(&mut self, batch: &mut impl Extend<T>) -> Next {
        let size = self.batch_size();
        if size > 0 {
            batch.extend(self.waiting.drain(..size));
            return Next::Batch { wake: !self.waiting.is_empty() && self.wake() };
        }
        if self.is_closed {
            return Next::End;
        }
        self.idle += 1;
        Next::Sleep
    }

    /// Refuses further items; those that wait are still handed out. Wake all workers.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.idle = 0;
    }

    /// Takes all items that wait, to be answered without being carried out.
    pub(crate) fn clear(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.waiting)
    }

    fn wake(&mut self) -> bool {
        let is_asleep = self.idle > 0;
        self.idle -= usize::from(is_asleep);
        is_asleep
    }

    fn batch_size(&self) -> usize {
        let limit = self.limits.weight;
        let (mut size, mut total) = (0, 0_usize);
        for item in self.waiting.iter().take(self.limits.items.max(1)) {
            let weight = item.weight();
            total = total.saturating_add(weight);
            let is_alone = weight >= limit;
            if size > 0 && (is_alone || total > limit) {
                break;
            }
            size += 1;
            if is_alone {
                break;
            }
        }
        size
    }
}

#[cfg(test)]
mod tests;
