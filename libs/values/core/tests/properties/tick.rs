//! Properties of a row's tick.

use proptest::collection::vec;
use proptest::prelude::*;
use values_core::types::ValueRow;

use crate::many;

/// Mostly realistic times, sometimes the ends of the number range.
fn second() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -100_000_i64..100_000, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn a_second_is_an_increment_whatever_the_clock_does(
        start in second(), value in second(), clock in vec(second(), 0..20)
    ) {
        let mut row = ValueRow::new(1, value, start);
        for now in clock {
            let before = row;
            let counted = row.tick(now);
            prop_assert!(row.is_consistent(), "{:?} at {} became {:?}", before, now, row);
            prop_assert!(counted >= 0);
            prop_assert_eq!(i128::from(row.value) - i128::from(before.value), i128::from(counted));
            prop_assert_eq!((row.initial_value, row.first_tick), (before.initial_value, before.first_tick));
            prop_assert_eq!((row.owner, row.epoch), (before.owner, before.epoch));
        }
    }

    #[test]
    fn a_second_tick_at_the_same_time_or_earlier_does_nothing(
        start in second(), value in second(), now in second(), back in 0_i64..1000
    ) {
        let mut row = ValueRow::new(1, value, start);
        row.tick(now);
        let once = row;
        prop_assert!(row.last_tick < now || row.tick(now.saturating_sub(back)) == 0);
        prop_assert_eq!(row, once);
    }

    #[test]
    fn ticks_left_out_are_caught_up(start in -1000_i64..1000, value in -1000_i64..1000, steps in vec(0_i64..5, 0..20)) {
        let mut often = ValueRow::new(1, value, start);
        let mut rarely = often;
        let mut now = start;
        for step in steps {
            now += step;
            often.tick(now);
        }
        rarely.tick(now);
        prop_assert_eq!(often, rarely);
        prop_assert_eq!(rarely.value, value + (now - start));
    }

    #[test]
    fn a_row_that_is_full_stands_still(room in 0_i64..100, seconds in 1_i64..200) {
        let mut row = ValueRow::new(1, i64::MAX - room, 0);
        prop_assert_eq!(row.tick(seconds), if seconds <= room { seconds } else { 0 });
        prop_assert!(row.is_consistent());
    }
}
