//! The delay before the next attempt.

use jobs_core::backoff::Backoff;
use proptest::prelude::*;

use crate::many;

proptest! {
    #![proptest_config(many())]

    #[test]
    fn delays_stay_between_half_and_the_whole(first in 0_i64..1 << 40, most in 0_i64..1 << 50, attempt: u32, random: u64) {
        let backoff = Backoff { initial_ms: first, max_ms: most };
        let delay = backoff.delay_ms(attempt, random);
        let doublings = attempt.saturating_sub(1).min(62);
        let longest = i128::from(first) << doublings;
        let longest = longest.min(i128::from(most));
        prop_assert!(i128::from(delay) >= longest / 2 && i128::from(delay) <= longest, "{delay} of {longest}");
    }

    #[test]
    fn nothing_overflows(first: i64, most: i64, attempt: u32, random: u64) {
        let delay = Backoff { initial_ms: first, max_ms: most }.delay_ms(attempt, random);
        prop_assert!(delay >= 0, "{delay}");
    }

    #[test]
    fn every_delay_is_reached(spread in 0_u64..1000) {
        let backoff = Backoff { initial_ms: 1000, max_ms: 600_000 };
        prop_assert_eq!(backoff.delay_ms(2, spread), 1000 + i64::try_from(spread).unwrap());
    }
}
