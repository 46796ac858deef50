//! The messages of a batch, fairly between clients.
//!
//! [`plan`] divides one batch among the clients of one listing. A [`Cursor`] leads a replica
//! through all clients that wait, one listing after the other.

use crate::tables::Waiting;
use crate::types::{ClientId, Range};

/// The sizes of listings and batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Maximum number of clients in a listing, at least 1.
    pub clients: usize,
    /// Maximum number of messages in a batch, at least `clients`.
    pub messages: usize,
}

impl Sizes {
    /// The sizes of the services. A batch takes a small part of a second.
    pub const DEFAULT: Self = Self { clients: 256, messages: 1024 };
}

impl Default for Sizes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Chooses at most `limit` messages of the clients in `waiting`, one range for each client, in the
/// same order. Each range begins at the client's next counter.
///
/// All clients get equal shares. What a client with fewer messages leaves goes in equal shares to
/// those with more. Messages that cannot be divided equally go one each to consecutive clients,
/// from the client number `rotation` on; a different `rotation` in each batch makes the shares
/// equal in the long run. If there are more clients than `limit`, the first `limit` clients get one
/// message each, and no range covers the others.
#[must_use]
pub fn plan(waiting: &[Waiting], limit: usize, rotation: usize) -> Vec<Range> {
    let waiting = &waiting[..waiting.len().min(limit)];
    let Share { each, remainder, sharing } = share(waiting, limit);
    let mut larger = 0;
    let mut ranges = Vec::with_capacity(waiting.len());
    for Waiting { range } in waiting {
        let mut count = range.count();
        if count > each {
            let is_favoured = (larger + sharing - rotation % sharing) % sharing < remainder;
            count = each + i64::from(is_favoured);
            larger += 1;
        }
        if count > 0 {
            ranges.push(Range { last: range.first + count - 1, ..range.clone() });
        }
    }
    ranges
}

/// The division of a batch.
struct Share {
    /// Number of messages of each client that has more than this.
    each: i64,
    /// Number of clients that get one message more.
    remainder: usize,
    /// Number of clients that have more than `each` messages, at least 1.
    sharing: usize,
}

fn share(waiting: &[Waiting], limit: usize) -> Share {
    let mut counts: Vec<i64> = waiting.iter().map(|waiting| waiting.range.count().max(0)).collect();
    counts.sort_unstable();
    let mut rest = i64::try_from(limit).unwrap_or(i64::MAX);
    for (index, count) in counts.iter().enumerate() {
        let sharing = counts.len() - index;
        let divisor = i64::try_from(sharing).unwrap_or(i64::MAX);
        if *count > rest / divisor {
            let remainder = usize::try_from(rest % divisor).unwrap_or(0);
            return Share { each: rest / divisor, remainder, sharing };
        }
        rest -= count;
    }
    Share { each: i64::MAX, remainder: 0, sharing: 1 }
}

/// The position of a replica among the clients that wait. It lists a part of them at a time, in
/// the order of their names, continues after the last client that it served, and begins again
/// after the last client of all. So it passes over no client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    sizes: Sizes,
    after: Option<ClientId>,
    rotation: usize,
}

/// What follows from a listing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Serve these ranges, at least one.
    Serve(Vec<Range>),
    /// No client is left after the cursor: list from the first client on.
    ListAgain,
    /// No client waits.
    Idle,
}

impl Cursor {
    /// A cursor before the first client.
    #[must_use]
    pub const fn new(sizes: Sizes) -> Self {
        Self { sizes, after: None, rotation: 0 }
    }

    /// The next listing: the client after which it begins, and the maximum number of clients. These
    /// are the arguments of `waiting`.
    #[must_use]
    pub const fn listing(&self) -> (Option<&ClientId>, usize) {
        (self.after.as_ref(), self.sizes.clients)
    }

    /// Plans the next batch from the answer to [`listing`](Self::listing), and moves the cursor.
    pub fn plan(&mut self, waiting: &[Waiting]) -> Step {
        if waiting.is_empty() {
            return if self.after.take().is_some() { Step::ListAgain } else { Step::Idle };
        }
        let is_full = waiting.len() >= self.sizes.clients;
        let is_all = self.after.is_none() && !is_full;
        let limit = if is_all { self.sizes.messages } else { self.quota(waiting.len()) };
        let ranges = plan(waiting, limit, self.rotation);
        let is_end = !is_full && ranges.len() == waiting.len();
        self.after = ranges.last().filter(|_| !is_end).map(|range| range.client.clone());
        let count: i64 = ranges.iter().map(Range::count).sum();
        if usize::try_from(count).is_ok_and(|count| count >= limit) {
            self.rotation = (self.rotation + 1) % self.sizes.clients;
        }
        Step::Serve(ranges)
    }

    /// Number of messages for `count` clients of several listings. In proportion, so that the few
    /// clients of the last listing get no larger shares than those of the others.
    fn quota(&self, count: usize) -> usize {
        (self.sizes.messages * count).div_ceil(self.sizes.clients).max(count)
    }
}
