//! Visits that wait, and the addition that is under way.

/// Hands out numbers to visits of type `V`.
#[derive(Debug)]
pub struct Coalescer<V> {
    capacity: usize,
    waiting: Vec<V>,
    under_way: Vec<V>,
    /// The number handed out last, and by which contact.
    last: Option<Count>,
}

/// What a counter stood at after an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The last number of the addition.
    pub total: i64,
    /// The contact that answered. Another one than before, such as a new
    /// connection, means that the counter was out of sight.
    pub contact: u64,
}

/// A visit that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full<V>(pub V);

/// What comes of an addition that was answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<V> {
    /// Each visit with its number.
    Numbers(Vec<(V, i64)>),
    /// The counter has lost numbers that were handed out: add this, at least 1, for
    /// the same visits.
    Again(i64),
}

impl<V> Coalescer<V> {
    /// Lets at most `capacity` visits wait, at least 1.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, waiting: Vec::new(), under_way: Vec::new(), last: None }
    }

    /// A visit waits. Says whether nothing is under way, so that somebody has to
    /// [start](Self::start) the next addition.
    pub fn push(&mut self, visit: V) -> Result<bool, Full<V>> {
        if self.waiting.len() >= self.capacity {
            return Err(Full(visit));
        }
        self.waiting.push(visit);
        Ok(self.under_way.is_empty())
    }

    /// How many wait for the next addition.
    #[must_use]
    pub fn waiting(&self) -> i64 {
        length(&self.waiting)
    }

    /// All that wait become the next addition; says how many they are. `None` if
    /// nobody waits, or an addition is under way.
    pub fn start(&mut self) -> Option<i64> {
        if !self.under_way.is_empty() {
            return None;
        }
        std::mem::swap(&mut self.waiting, &mut self.under_way);
        Some(length(&self.under_way)).filter(|visits| *visits > 0)
    }

    /// The addition under way was answered.
    pub fn answered(&mut self, count: Count) -> Outcome<V> {
        let visits = length(&self.under_way);
        let before = count.total.saturating_sub(visits);
        if let Some(last) = self.last
            && last.contact != count.contact
            && before < last.total
        {
            let missing = last.total.saturating_sub(count.total).max(0);
            return Outcome::Again(missing.saturating_add(visits));
        }
        self.last = Some(count);
        let under_way = std::mem::take(&mut self.under_way);
        Outcome::Numbers(under_way.into_iter().zip(before.saturating_add(1)..=count.total).collect())
    }

    /// The addition under way failed; whether it happened is unknown. Returns all
    /// visits, those that wait for the next one too, to be turned away.
    pub fn failed(&mut self) -> Vec<V> {
        let mut visits = std::mem::take(&mut self.under_way);
        visits.append(&mut self.waiting);
        visits
    }
}

fn length<V>(visits: &[V]) -> i64 {
    i64::try_from(visits.len()).unwrap_or(i64::MAX)
}
