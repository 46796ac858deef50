//! A replica's way through the clients that wait.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use round_robin_core::plan::{Cursor, Sizes, Step};
use round_robin_core::tables::Waiting;
use round_robin_core::types::Range;

use crate::{cases, client, waiting};

/// Number of messages that wait, for each client by its number.
#[derive(Default)]
struct Backlog(BTreeMap<usize, i64>);

impl Backlog {
    fn list(&self, cursor: &Cursor) -> Vec<Waiting> {
        let (after, limit) = cursor.listing();
        let after = |number: &usize| after.is_none_or(|after| client(*number) > *after);
        let listed = self.0.iter().filter(|(number, count)| **count > 0 && after(number));
        listed.map(|(number, count)| waiting(*number, 1, *count)).take(limit).collect()
    }

    fn serve(&mut self, ranges: &[Range]) -> Vec<usize> {
        let number = |range: &Range| range.client.as_str()[7..].parse::<usize>().unwrap();
        for range in ranges {
            *self.0.get_mut(&number(range)).unwrap() -= range.count();
        }
        ranges.iter().map(number).collect()
    }

    fn is_empty(&self) -> bool {
        self.0.values().all(|count| *count == 0)
    }
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (1_usize..6, 0_usize..20).prop_map(|(clients, more)| Sizes { clients, messages: clients + more })
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn no_client_is_passed_over(sizes in sizes(), arrivals in vec(vec((0_usize..12, 1_i64..40), 0..4), 1..40)) {
        const CLIENTS: usize = 12;
        let mut cursor = Cursor::new(sizes);
        let mut backlog = Backlog::default();
        // For each client, the listings since it waits and was not served.
        let mut passed = BTreeMap::<usize, usize>::new();
        for arrival in arrivals {
            for (number, count) in arrival {
                *backlog.0.entry(number).or_default() += count;
            }
            let listed = backlog.list(&cursor);
            match cursor.plan(&listed) {
                Step::Serve(ranges) => {
                    let count: i64 = ranges.iter().map(Range::count).sum();
                    prop_assert!(!ranges.is_empty() && count <= i64::try_from(sizes.messages).unwrap());
                    for number in backlog.serve(&ranges) {
                        passed.remove(&number);
                    }
                }
                Step::ListAgain => prop_assert!(cursor.listing().0.is_none()),
                Step::Idle => prop_assert!(backlog.is_empty()),
            }
            let waits = backlog.0.iter().filter(|(_, count)| **count > 0).map(|(number, _)| *number);
            for number in waits.collect::<Vec<_>>() {
                let listings = passed.entry(number).or_default();
                *listings += 1;
                prop_assert!(*listings <= CLIENTS.div_ceil(sizes.clients) + 2, "client {}", number);
            }
        }
    }

    #[test]
    fn clients_of_one_round_get_equal_shares(sizes in sizes(), clients in 1_usize..15) {
        const MANY: i64 = 1_000_000;
        let mut cursor = Cursor::new(sizes);
        let mut backlog = Backlog((0..clients).map(|number| (number, MANY)).collect());
        let (mut round, mut rounds) = (0, 0);
        while rounds < 20 {
            match cursor.plan(&backlog.list(&cursor)) {
                Step::Serve(ranges) => round += backlog.serve(&ranges).len(),
                Step::ListAgain => {}
                Step::Idle => prop_assert!(false, "clients wait"),
            }
            rounds += usize::from(round == clients);
            round %= clients;
        }
        let served: Vec<i64> = backlog.0.values().map(|count| MANY - count).collect();
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        // One message for each round of a listing that has a remainder of its own.
        prop_assert!(most - least <= 20, "{:?}", served);
        prop_assert!(*least >= 20 * i64::try_from(sizes.messages / sizes.clients.max(clients).max(1)).unwrap(), "{:?}", served);
    }
}

#[test]
fn a_large_backlog_delays_another_client_by_one_batch() {
    let mut cursor = Cursor::new(Sizes::DEFAULT);
    let mut backlog = Backlog([(1, 100_000)].into());
    for number in [0, 2] {
        let Step::Serve(ranges) = cursor.plan(&backlog.list(&cursor)) else { panic!("one waits") };
        assert_eq!(ranges.iter().map(Range::count).sum::<i64>(), 1024);
        backlog.serve(&ranges);
        backlog.0.insert(number, 1);
        let Step::Serve(ranges) = cursor.plan(&backlog.list(&cursor)) else { panic!("two wait") };
        assert!(backlog.serve(&ranges).contains(&number));
    }
}
