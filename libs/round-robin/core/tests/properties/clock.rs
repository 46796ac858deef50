//! The estimate of the database's clock.

use proptest::collection::vec;
use proptest::prelude::*;
use round_robin_core::clock::DatabaseClock;

use crate::many;

proptest! {
    #![proptest_config(many())]

    #[test]
    fn it_is_never_ahead_and_no_worse_than_the_fastest_answer(
        offset in -1_000_000_i64..1_000_000, answers in vec((0_i64..500, 0_i64..300, 0_i64..300), 1..20)
    ) {
        let mut clock = DatabaseClock::new();
        let (mut local, mut fastest) = (0, i64::MAX);
        for (pause, there, back) in answers {
            let asked = local + pause;
            let answered = asked + there + back;
            clock.observe(asked + there + offset, asked, answered);
            (local, fastest) = (answered, fastest.min(there + back));
            let error = local + offset - clock.at(local).unwrap();
            prop_assert!((0..=fastest).contains(&error), "off by {}", error);
            prop_assert_eq!(clock.local(clock.at(local).unwrap()), Some(local));
        }
    }

    #[test]
    fn it_follows_a_clock_that_steps(
        before in -10_000_i64..10_000, step in -10_000_i64..10_000, there in 0_i64..50, back in 0_i64..50
    ) {
        let mut clock = DatabaseClock::new();
        clock.observe(1000 + before, 1000, 1000);
        clock.observe(2000 + there + before + step, 2000, 2000 + there + back);
        let error = before + step - (clock.at(0).unwrap());
        prop_assert!((-there..=back).contains(&error), "off by {}", error);
    }
}

#[test]
fn nothing_is_known_before_the_first_answer() {
    assert_eq!((DatabaseClock::new().at(5), DatabaseClock::new().local(5)), (None, None));
}
