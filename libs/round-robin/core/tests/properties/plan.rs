//! The shares of a batch.

use proptest::collection::vec;
use proptest::prelude::*;
use round_robin_core::plan::plan;
use round_robin_core::tables::Waiting;
use round_robin_core::types::Range;

use crate::{many, waiting};

fn counts() -> impl Strategy<Value = Vec<i64>> {
    vec(prop_oneof![4 => 1_i64..8, 2 => 1_i64..100, 1 => Just(100_000_i64)], 0..20)
}

fn listing(counts: &[i64]) -> Vec<Waiting> {
    counts
        .iter()
        .enumerate()
        .map(|(number, count)| waiting(number, 10 * i64::try_from(number).unwrap(), *count))
        .collect()
}

fn total(ranges: &[Range]) -> i64 {
    ranges.iter().map(Range::count).sum()
}

/// One message at a time to each client that has more, in turns: the definition of fair shares.
fn one_by_one(counts: &[i64], mut limit: i64) -> Vec<i64> {
    let mut shares = vec![0; counts.len()];
    loop {
        let before = limit;
        for (share, count) in shares.iter_mut().zip(counts) {
            if *share < *count && limit > 0 {
                (*share, limit) = (*share + 1, limit - 1);
            }
        }
        if limit == 0 || limit == before {
            return shares;
        }
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn each_client_gets_its_share(counts in counts(), limit in 0_usize..300, rotation in 0_usize..300) {
        let listing = listing(&counts);
        let ranges = plan(&listing, limit, rotation);
        prop_assert_eq!(ranges.len(), counts.len().min(limit), "a client was left out");
        for (range, Waiting { range: all }) in ranges.iter().zip(&listing) {
            prop_assert_eq!((&range.client, range.first), (&all.client, all.first));
            prop_assert!(range.count() > 0 && range.last <= all.last);
        }
        let limit = i64::try_from(limit).unwrap();
        prop_assert_eq!(total(&ranges), counts.iter().sum::<i64>().min(limit));
        // Only a client that gets all of its messages gets fewer than others, but for one.
        let least = ranges.iter().zip(&counts).filter(|(range, count)| range.count() < **count).map(|(range, _)| range.count());
        let most = ranges.iter().map(Range::count).max().unwrap_or(0);
        prop_assert!(least.min().is_none_or(|least| most <= least + 1), "{:?}", ranges);
    }

    #[test]
    fn without_rotation_the_first_clients_get_the_remainder(counts in counts(), limit in 0_usize..300) {
        let ranges = plan(&listing(&counts), limit, 0);
        let mut shares = one_by_one(&counts, i64::try_from(limit).unwrap());
        shares.retain(|share| *share > 0);
        prop_assert_eq!(ranges.iter().map(Range::count).collect::<Vec<_>>(), shares);
    }

    #[test]
    fn the_remainder_rotates(clients in 1_usize..12, limit in 12_usize..100, start in 0_usize..100) {
        let listing = listing(&vec![100_000; clients]);
        let mut sums = vec![0; clients];
        for rotation in start..start + clients {
            for (sum, range) in sums.iter_mut().zip(plan(&listing, limit, rotation)) {
                *sum += range.count();
            }
        }
        prop_assert!(sums.iter().all(|sum| *sum == i64::try_from(limit).unwrap()), "{:?}", sums);
    }
}

#[test]
fn what_small_clients_leave_goes_to_the_others() {
    let shares = |limit, rotation| {
        let ranges = plan(&listing(&[2, 100_000, 1, 50, 100_000]), limit, rotation);
        ranges.iter().map(Range::count).collect::<Vec<_>>()
    };
    assert_eq!(shares(1000, 0), [2, 474, 1, 50, 473]);
    assert_eq!(shares(1000, 1), [2, 473, 1, 50, 474]);
    assert_eq!(shares(11, 0), [2, 3, 1, 3, 2]);
    assert_eq!(shares(11, 1), [2, 2, 1, 3, 3]);
    assert_eq!(shares(3, 7), [1, 1, 1], "the others come with the next listing");
    assert_eq!(shares(0, 0), [0; 0]);
}
