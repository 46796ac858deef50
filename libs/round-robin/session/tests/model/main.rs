//! The state machine of a session against the specification of the tables, with any order of
//! deliveries, disconnects, refusals and restarts.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod world;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{Step, World};

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_usize..6).prop_map(Step::Submit),
        4 => (0_u64..400).prop_map(Step::Wait),
        6 => (1_usize..8).prop_map(Step::ServerReads),
        6 => (1_usize..8).prop_map(Step::ClientReads),
        4 => (1_i64..8).prop_map(Step::Serve),
        4 => Just(Step::Answer),
        3 => any::<bool>().prop_map(Step::Connect),
        2 => any::<bool>().prop_map(Step::Cut),
        1 => Just(Step::CutServer),
        1 => (0_u64..500).prop_map(Step::Goaway),
        1 => Just(Step::Refuse),
        1 => Just(Step::Restart),
        2 => Just(Step::Take),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    /// No message is lost, stored twice or served out of order, and no answer is missed or delivered
    /// twice, whatever the network does and whenever the application loses its state.
    #[test]
    fn messages_and_answers_are_exact(seed in any::<u64>(), steps in vec(any_step(), 0..150)) {
        let mut world = World::new(seed);
        world.steps(steps);
        world.heal();
        world.assert_everything_is_answered();
        prop_assert_eq!(world.losses(), 0);
    }

    /// A database that loses its latest transactions is noticed, and everything that was not answered
    /// is sent again.
    #[test]
    fn a_database_that_forgets_is_noticed(
        seed in any::<u64>(),
        before in vec(any_step(), 0..60),
        forgotten in vec(any_step(), 0..60),
        after in vec(any_step(), 0..60),
    ) {
        let mut world = World::new(seed);
        world.steps(before);
        let database = world.snapshot();
        world.steps(forgotten);
        world.restore(database);
        world.steps(after);
        world.heal();
        world.assert_everything_is_answered();
    }
}
