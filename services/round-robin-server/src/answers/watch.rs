//! The watch: finds out what other replicas serve to the clients that are followed here, and which
//! clients have connected elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use round_robin_core::types::{ClientId, ClientRow, Range};
use round_robin_store::{Error, IntakeStore};
use tokio::time::Instant;

use super::{Answers, Known, combined, served_before};
use crate::Metrics;

/// Shortest time between two looks at the database.
const INTERVAL: Duration = Duration::from_millis(20);

/// Time between two looks while the database does not answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Number of clients in one query.
const CLIENTS: usize = 256;

/// Number of clients in one look whose followers expect no answers.
const IDLE: usize = 64;

/// Number of answers in one query.
const ANSWERS: i64 = 2048;

/// Watches until it is aborted.
pub(crate) async fn run(answers: Answers, store: Arc<dyn IntakeStore>, metrics: Metrics) {
    let mut watch = Watch { answers, store, last_idle: None };
    loop {
        watch.answers.any().await;
        let began = Instant::now();
        let pause = match watch.look().await {
            // A database that is busy is asked less often.
            Ok(()) => INTERVAL.max(began.elapsed() * 2),
            Err(error) => {
                metrics.store_errors.inc();
                tracing::debug!(%error, "cannot look for answers");
                RETRY_INTERVAL
            }
        };
        metrics.followed.set(i64::try_from(watch.answers.count()).unwrap_or(i64::MAX));
        tokio::time::sleep(pause).await;
    }
}

struct Watch {
    answers: Answers,
    store: Arc<dyn IntakeStore>,
    /// The last client that was looked at although no follower expected answers.
    last_idle: Option<ClientId>,
}

impl Watch {
    /// Looks once at each client whose followers expect answers, and at some of the others.
    async fn look(&mut self) -> Result<(), Error> {
        let (mut known, idle) = self.answers.known(self.last_idle.as_ref(), IDLE);
        self.last_idle = idle.last().map(|known| known.id.clone());
        known.extend(idle);
        for part in known.chunks(CLIENTS) {
            self.look_at(part).await?;
        }
        Ok(())
    }

    async fn look_at(&self, clients: &[Known]) -> Result<(), Error> {
        let ids: Vec<ClientId> = clients.iter().map(|known| known.id.clone()).collect();
        let rows = self.store.progress(&ids).await?;
        let rows: BTreeMap<&ClientId, &ClientRow> = rows.iter().map(|row| (&row.id, row)).collect();
        let mut new = Vec::new();
        for known in clients {
            match rows.get(&known.id) {
                Some(row) if known.precedes(row) => new.extend(known.served_until(row)),
                None if known.next.is_none() => {}
                _ => self.answers.lost(&known.id),
            }
        }
        self.read(&new).await?;
        // After the answers, so that a follower finds them at the counters that it learns of.
        for row in rows.values() {
            self.answers.learned(row);
        }
        Ok(())
    }

    /// Reads the answers to these messages, and tells their followers.
    async fn read(&self, new: &[Range]) -> Result<(), Error> {
        let mut left = new;
        while !left.is_empty() {
            let (part, rest) = left.split_at(fitting(left));
            left = rest;
            for served in combined(self.store.answers(part).await?) {
                self.answers.answered(served);
            }
        }
        Ok(())
    }
}

impl Known {
    /// Whether `row` is a later state of the client. If not, the database has lost transactions:
    /// what is known was committed before the row was read.
    fn precedes(&self, row: &ClientRow) -> bool {
        self.epoch <= row.epoch && self.next.is_none_or(|next| next <= served_before(row))
    }

    /// The messages that were served since. None if there are too many for one query: followers
    /// then read their answers by themselves.
    fn served_until(&self, row: &ClientRow) -> Option<Range> {
        let range = Range { client: self.id.clone(), first: self.next?, last: served_before(row) - 1 };
        (1..=ANSWERS).contains(&range.count()).then_some(range)
    }
}

/// The number of ranges that one query reads, at least 1.
fn fitting(ranges: &[Range]) -> usize {
    let mut count = 0;
    let fit = ranges.iter().take_while(|range| {
        count += range.count();
        count <= ANSWERS
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use round_robin_core::types::Epoch;

    use super::*;

    fn range(client: &str, first: i64, last: i64) -> Range {
        Range { client: client.to_owned().try_into().unwrap(), first, last }
    }

    #[test]
    fn one_query_reads_a_limited_number_of_answers() {
        assert_eq!(fitting(&[range("a", 1, ANSWERS), range("b", 1, 1)]), 1);
        assert_eq!(fitting(&[range("a", 1, ANSWERS - 1), range("b", 5, 5), range("c", 1, 1)]), 2);
        assert_eq!(fitting(&[range("a", 1, ANSWERS + 1)]), 1);
    }

    #[test]
    fn a_row_that_steps_back_means_that_the_database_lost_transactions() {
        let id: ClientId = "a".to_owned().try_into().unwrap();
        let mut row = ClientRow::new(id.clone());
        (row.epoch, row.next) = (Epoch(2), 5);
        assert!(!row.is_new());
        let known = |epoch, next| Known { id: id.clone(), epoch: Epoch(epoch), next };
        for (epoch, next, expected) in
            [(0, None, true), (2, Some(5), true), (1, Some(4), true), (3, None, false), (2, Some(6), false)]
        {
            assert_eq!(known(epoch, next).precedes(&row), expected, "{epoch} {next:?}");
        }
        assert_eq!(known(2, Some(3)).served_until(&row), Some(range("a", 3, 4)));
        assert_eq!(known(2, Some(5)).served_until(&row), None);
        assert_eq!(known(2, None).served_until(&row), None, "followers read their answers");
    }
}
