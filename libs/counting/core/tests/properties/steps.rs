//! What the server does, rule by rule.

use counting_core::{
    AHEAD, Command, Connection, Event, MISSING_MS, PROBE_MS, RETRY_MS, Reason, Refusal, Reply, Role, Server,
};

const A: Connection = Connection(1);
const B: Connection = Connection(2);
const C: Connection = Connection(3);
const D: Connection = Connection(4);

/// A client connects that takes any role.
const fn connected(connection: Connection) -> Event {
    Event::Connected { connection, wanted: None }
}

/// A client connects that would like to have this role.
const fn wants(connection: Connection, role: Role) -> Event {
    Event::Connected { connection, wanted: Some(role) }
}

/// A number from the client of its role, which wants an acknowledgement.
fn number(from: Connection, number: u64) -> Event {
    Event::Number { from, role: Role::of(number), number, reply: Some(Reply(number)) }
}

fn acknowledge(to: Connection, number: u64) -> Command {
    Command::Acknowledge { to, reply: Reply(number), number }
}

fn refuse(to: Connection, number: u64, refusal: Refusal) -> Command {
    Command::Refuse { to, reply: Some(Reply(number)), refusal }
}

fn assign(to: Connection, role: Role, last_number: u64) -> Command {
    Command::Assign { to, role, last_number }
}

fn probe(server: &Server, role: Role) -> Command {
    Command::Probe(server.holder(role).expect("both roles are held"))
}

/// A server with this last number; A is client1, and B is client2.
fn counting(stored: u64) -> Server {
    let mut server = Server::new(stored);
    server.step(connected(A), 0);
    server.step(connected(B), 0);
    assert!(server.is_counting());
    server
}

#[test]
fn roles() {
    assert_eq!((Role::of(1), Role::of(2)), (Role::Client1, Role::Client2));
    assert_eq!(Role::ALL.map(Role::first), [1, 2]);
    for (last, expected) in [(0, [0, 0]), (1, [1, 0]), (2, [1, 2]), (3, [3, 2]), (10, [9, 10])] {
        assert_eq!(Role::ALL.map(|role| role.last_up_to(last)), expected, "{last}");
    }
    assert_eq!(Role::named("client2"), Some(Role::Client2));
    assert_eq!(Role::named("client3"), None);
}

#[test]
fn roles_are_handed_out_in_order_and_the_missing_one_to_the_next() {
    let mut server = Server::new(7);
    assert_eq!(server.step(connected(A), 0), [assign(A, Role::Client1, 7)]);
    let both = [assign(B, Role::Client2, 6), Command::Start(A), Command::Start(B)];
    assert_eq!(server.step(connected(B), 0), both);
    assert_eq!(server.step(connected(B), 0), [], "known already");
    assert_eq!(server.step(Event::Disconnected(A), 0), [Command::Stop(B)]);
    assert_eq!(server.step(Event::Disconnected(A), 0), []);
    let both = [assign(C, Role::Client1, 7), Command::Start(C), Command::Start(B)];
    assert_eq!(server.step(connected(C), 0), both);
}

#[test]
fn a_client_gets_the_role_that_it_wants_if_it_is_free() {
    for wanted in Role::ALL {
        let mut server = Server::new(4);
        assert_eq!(server.step(wants(A, wanted), 0), [assign(A, wanted, wanted.last_up_to(4))]);
        // The same wish cannot be granted twice.
        let other = wanted.other();
        assert_eq!(server.step(wants(B, wanted), 0)[0], assign(B, other, other.last_up_to(4)));
        assert!(server.is_counting());
        // One that waits gets the role that becomes free, whichever it is.
        let probes = Role::ALL.map(|role| probe(&server, role));
        assert_eq!(server.step(wants(C, wanted), 0), probes);
        let commands = server.step(Event::Disconnected(B), 1);
        assert!(commands.contains(&assign(C, other, other.last_up_to(4))), "{commands:?}");
    }
}

/// Two clients wait, and both roles become free in one step.
#[test]
fn those_who_wait_get_roles_in_the_order_in_which_they_came() {
    let mut server = counting(0);
    server.step(wants(C, Role::Client2), 0);
    server.step(wants(D, Role::Client2), 0);
    let silent = |connection| Command::Disconnect { connection, reason: Reason::Silent };
    let mut commands = server.step(Event::Time, PROBE_MS);
    commands.retain(|command| matches!(command, Command::Disconnect { .. } | Command::Assign { .. }));
    assert_eq!(commands, [silent(A), assign(C, Role::Client1, 0), silent(B), assign(D, Role::Client2, 0)]);
}

/// The server reports each message of a holder as an answer while others wait.
#[test]
fn an_answer_that_nobody_has_asked_for_changes_nothing() {
    let mut server = counting(0);
    let before = server.clone();
    for connection in [A, B, C] {
        assert_eq!(server.step(Event::Answered(connection), 0), []);
    }
    assert_eq!(server, before);
    // Neither does one of a connection that waits itself.
    server.step(connected(C), 10);
    let waits = server.clone();
    assert_eq!(server.step(Event::Answered(C), 20), []);
    assert_eq!(server.step(Event::Answered(D), 20), []);
    assert_eq!(server, waits);
    // A second answer of a holder is not one of the other holder.
    assert_eq!(server.step(Event::Answered(A), 30), []);
    let answered = server.clone();
    assert_eq!(server.step(Event::Answered(A), 40), []);
    assert_eq!(server, answered);
    assert_eq!(server.step(Event::Answered(B), 50), [Command::Reject(C)]);
}

#[test]
fn numbers_are_acknowledged_when_they_are_durable() {
    let mut server = counting(0);
    assert_eq!(server.step(number(A, 1), 0), [Command::Store(1)]);
    // These share the next store.
    assert_eq!(server.step(number(B, 2), 0), []);
    assert_eq!(server.step(number(A, 3), 0), []);
    assert_eq!(server.step(Event::Stored(1), 0), [acknowledge(A, 1), Command::Store(3)]);
    assert_eq!(server.step(Event::Stored(3), 0), [acknowledge(B, 2), acknowledge(A, 3)]);
    assert_eq!(server.step(number(A, 1), 0), [acknowledge(A, 1)], "stored already");
    assert_eq!(server.stored(), 3);
}

#[test]
fn an_early_number_waits_for_the_other_client() {
    let mut server = counting(0);
    assert_eq!(server.step(number(B, 2), 0), []);
    assert_eq!(server.step(number(B, 4), 0), []);
    assert_eq!(server.wake_at(), None, "nothing of B is missing");
    assert_eq!(server.step(number(A, 1), 0), [Command::Store(2)]);
    assert_eq!(server.step(number(A, 3), 0), []);
    assert_eq!(server.step(Event::Stored(2), 0), [acknowledge(A, 1), acknowledge(B, 2), Command::Store(4)]);
}

#[test]
fn wrong_numbers_are_refused() {
    let mut server = counting(0);
    for (from, role, wrong) in [(A, Role::Client1, 2), (A, Role::Client1, 0), (B, Role::Client2, 1)] {
        let event = Event::Number { from, role, number: wrong, reply: Some(Reply(wrong)) };
        assert_eq!(server.step(event, 0), [refuse(from, wrong, Refusal::WrongNumber)]);
    }
    assert_eq!(server.step(number(B, AHEAD + 2), 0), [refuse(B, AHEAD + 2, Refusal::TooFar(AHEAD))]);
    assert_eq!(server.step(number(C, 1), 0), [refuse(C, 1, Refusal::NoRole)]);
    let refused = Command::Refuse { to: A, reply: None, refusal: Refusal::Malformed };
    assert_eq!(server.step(Event::Malformed { from: A, reply: None }, 0), [refused]);
    assert_eq!(server.step(number(A, 1), 0), [Command::Store(1)]);
    // A client that has sent its own numbers does not become the other one.
    assert_eq!(server.step(number(A, 2), 0), [refuse(A, 2, Refusal::WrongNumber)]);
}

#[test]
fn a_client_whose_number_stays_missing_is_disconnected() {
    let mut server = counting(0);
    server.step(number(A, 3), 1_000);
    server.step(number(A, 5), 3_000);
    assert_eq!(server.wake_at(), Some(1_000 + MISSING_MS));
    assert_eq!(server.step(Event::Time, 999 + MISSING_MS), []);
    let missing = Command::Disconnect { connection: A, reason: Reason::Missing(1) };
    assert_eq!(server.step(Event::Time, 1_000 + MISSING_MS), [missing, Command::Stop(B)]);
    // The next client begins at the missing number; what has come counts.
    let both = [assign(C, Role::Client1, 0), Command::Start(C), Command::Start(B)];
    assert_eq!(server.step(connected(C), 7_000), both);
    server.step(number(B, 2), 7_000);
    assert_eq!(server.step(number(C, 1), 7_000), [Command::Store(3)]);
}

#[test]
fn a_client_whose_number_comes_in_time_is_not_disconnected() {
    let mut server = counting(0);
    server.step(number(A, 3), 0);
    server.step(number(A, 1), MISSING_MS - 1);
    assert_eq!(server.wake_at(), None);
    // The number comes at the last moment: the event counts, not the deadline.
    server.step(number(A, 7), 10_000);
    assert_eq!(server.step(number(A, 5), 10_000 + MISSING_MS), []);
    // Another gap has its own time.
    server.step(number(A, 11), 20_000);
    assert_eq!(server.wake_at(), Some(20_000 + MISSING_MS));
}

#[test]
fn a_client_that_sends_only_wrong_numbers_is_disconnected() {
    for wrong in [
        Event::Malformed { from: A, reply: None },
        Event::Number { from: A, role: Role::Client1, number: 2, reply: None },
        Event::Number { from: A, role: Role::Client1, number: 1_000_001, reply: None },
    ] {
        let mut server = counting(0);
        server.step(wrong, 0);
        let commands = server.step(wrong, MISSING_MS);
        assert!(commands.contains(&Command::Disconnect { connection: A, reason: Reason::Missing(1) }), "{commands:?}");
    }
}

/// A client far ahead of the other one did nothing wrong.
#[test]
fn a_client_that_has_to_wait_for_the_other_one_is_not_disconnected() {
    let mut server = counting(0);
    for odd in (1..=AHEAD).step_by(2) {
        server.step(number(A, odd), 0);
    }
    let limit = AHEAD + 1;
    server.step(Event::Stored(1), 0);
    server.step(number(A, limit), 0);
    assert_eq!(server.step(number(A, limit + 2), 0), [refuse(A, limit + 2, Refusal::TooFar(limit))]);
    assert_eq!(server.wake_at(), None);
}

#[test]
fn a_third_client_is_rejected_when_both_others_have_answered() {
    let mut server = counting(0);
    assert_eq!(server.step(connected(C), 100), [Command::Probe(A), Command::Probe(B)]);
    assert_eq!(server.wake_at(), Some(100 + PROBE_MS));
    assert_eq!(server.step(Event::Answered(A), 200), []);
    // Another one waits for an answer of A that is newer.
    assert_eq!(server.step(connected(D), 300), [Command::Probe(A)]);
    assert_eq!(server.step(Event::Answered(B), 400), [Command::Reject(C)]);
    assert_eq!(server.step(Event::Answered(A), 500), [Command::Reject(D)]);
    assert_eq!(server.wake_at(), None);
}

#[test]
fn a_silent_holder_gives_its_role_to_the_one_who_waits() {
    let mut server = counting(4);
    server.step(connected(C), 0);
    server.step(connected(D), 0);
    server.step(Event::Answered(B), 1);
    assert_eq!(server.step(Event::Time, PROBE_MS - 1), []);
    let silent = Command::Disconnect { connection: A, reason: Reason::Silent };
    // C may be gone itself by now, so it is probed for D.
    let changed = [silent, Command::Stop(B), assign(C, Role::Client1, 3), Command::Probe(C)];
    assert_eq!(server.step(Event::Time, PROBE_MS), [&changed[..], &[Command::Start(C), Command::Start(B)]].concat());
    assert_eq!(server.step(Event::Answered(C), PROBE_MS + 1), [Command::Reject(D)]);
}

#[test]
fn one_who_waits_takes_the_role_of_one_who_leaves() {
    let mut server = counting(0);
    server.step(connected(C), 0);
    let commands = server.step(Event::Disconnected(B), 1);
    let expected = [Command::Stop(A), assign(C, Role::Client2, 0), Command::Start(A), Command::Start(C)];
    assert_eq!(commands, expected);
    // One who does not wait any longer gets nothing.
    server.step(connected(D), 2);
    server.step(Event::Disconnected(D), 3);
    assert_eq!(server.step(Event::Disconnected(A), 4), [Command::Stop(C)]);
}

/// After a restart of the server, the clients come again in the other order.
#[test]
fn roles_follow_clients_that_count_on() {
    let mut server = counting(4);
    let exchanged = [assign(B, Role::Client1, 3), assign(A, Role::Client2, 4), Command::Store(5)];
    assert_eq!(server.step(number(B, 5), 0), exchanged);
    assert_eq!(server.step(number(A, 6), 0), []);
    // Alone, a client takes the other role too.
    let mut server = Server::new(4);
    server.step(connected(A), 0);
    assert_eq!(server.step(number(A, 6), 0), [assign(A, Role::Client2, 4)]);
    assert_eq!(server.step(connected(B), 0)[0], assign(B, Role::Client1, 3));
}

#[test]
fn two_clients_that_count_the_same_numbers_are_not_both_kept() {
    let mut server = counting(4);
    server.step(number(A, 5), 0);
    let taken = Command::Disconnect { connection: B, reason: Reason::Taken(Role::Client1) };
    assert_eq!(server.step(number(B, 5), 0), [taken, Command::Stop(A)]);
}

#[test]
fn a_disk_that_fails_stops_counting_until_it_works() {
    let mut server = counting(0);
    server.step(number(A, 1), 0);
    server.step(number(B, 2), 0);
    server.step(number(A, 3), 0);
    server.step(Event::Stored(1), 0);
    // One of two lines was stored.
    let stopped = [acknowledge(B, 2), Command::Stop(A), Command::Stop(B)];
    assert_eq!(server.step(Event::StoreFailed(2), 100), stopped);
    assert!(server.cannot_store() && !server.is_counting());
    // What was on its way waits.
    assert_eq!(server.step(number(B, 4), 200), []);
    assert_eq!(server.step(number(A, 2_001), 200), [refuse(A, 2_001, Refusal::CannotStore)]);
    assert_eq!(server.step(Event::Disconnected(A), 300), []);
    assert_eq!(server.step(connected(C), 300), [assign(C, Role::Client1, 1)]);
    assert_eq!(server.wake_at(), Some(100 + RETRY_MS));
    assert_eq!(server.step(Event::Time, 100 + RETRY_MS), [Command::Store(4)]);
    assert_eq!(server.wake_at(), None);
    server.step(Event::StoreFailed(2), 1_200);
    assert_eq!(server.step(Event::Time, 1_200 + RETRY_MS), [Command::Store(4)]);
    let going_on = [acknowledge(B, 4), Command::Start(C), Command::Start(B)];
    assert_eq!(server.step(Event::Stored(4), 3_000), going_on);
    assert!(!server.cannot_store());
}

#[test]
fn acknowledgements_of_ended_connections_are_dropped() {
    let mut server = counting(0);
    server.step(number(B, 2), 0);
    server.step(Event::Disconnected(B), 0);
    assert_eq!(server.step(number(A, 1), 0), [Command::Store(2)]);
    assert_eq!(server.step(Event::Stored(2), 0), [acknowledge(A, 1)]);
}

#[test]
fn a_client_that_repeats_one_number_does_not_use_up_memory() {
    let mut server = counting(0);
    let repeat = |reply| Event::Number { from: B, role: Role::Client2, number: 2, reply: Some(Reply(reply)) };
    let refused = (0..10_000).filter(|reply| {
        let commands = server.step(repeat(*reply), 0);
        commands.iter().any(|command| matches!(command, Command::Refuse { refusal: Refusal::TooMany, .. }))
    });
    assert_eq!(refused.count(), 10_000 - 4_096);
}
