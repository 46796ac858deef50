//! The answers on a connection, whatever the order of news.

use proptest::collection::vec;
use proptest::prelude::*;
use round_robin_core::connection::{Closed, Connection, Output, Refusal};
use round_robin_core::tables::{Accepted, Connected, Lost, Resume};
use round_robin_core::types::{ClientRow, Epoch, MessageRow, Range, Served};

use crate::{client, many};

const EPOCH: Epoch = Epoch(5);

/// A connection of a client whose messages before `next` are served, and continue at `from`.
fn connect(next: i64, from: i64) -> Connection {
    let row = ClientRow { epoch: EPOCH, next, missing: next, ..ClientRow::new(client(0)) };
    Connection::new(&Connected { client: row, resume: Resume::From(from) })
}

fn served(counter: i64) -> Served {
    Served { replica: "r".to_owned(), at: counter * 10 }
}

fn stored(counter: i64, served: Option<Served>) -> Accepted {
    let message = String::new();
    Accepted::Stored(MessageRow { client: client(0), counter, message, received_at: 0, served })
}

/// What happens to a client or its connection.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// Messages are served.
    Served(i64),
    /// The server learns the position as it was some messages ago.
    Progress(i64),
    /// The server reads and sends answers.
    Send(u32),
    /// The server has read answers twice.
    SendTwice(u32),
    /// The oldest answers are deleted.
    Deleted(i64),
    /// The client repeats a message that was sent some messages ago.
    Repeat(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1_i64..20).prop_map(Happening::Served),
        3 => (0_i64..30).prop_map(Happening::Progress),
        3 => (1_u32..10).prop_map(Happening::Send),
        1 => (1_u32..10).prop_map(Happening::SendTwice),
        1 => (1_i64..20).prop_map(Happening::Deleted),
        2 => (0_i64..30).prop_map(Happening::Repeat),
    ]
}

/// Both ends of a connection, and the truth.
struct Run {
    connection: Connection,
    kept: i64,
    next: i64,
    /// The counter after the last answer that the client received, or was told to be gone.
    expected: i64,
}

impl Run {
    fn send(&mut self, limit: u32, times: usize) -> Result<bool, TestCaseError> {
        let Some(range) = self.connection.due(limit) else { return Ok(false) };
        prop_assert!(range.count() <= i64::from(limit) && range.last < self.next);
        for _ in 0..times {
            let answers = (range.first.max(self.kept)..=range.last).map(|counter| (counter, served(counter)));
            let outputs = self.connection.answers(range.last, answers);
            self.receive(&outputs)?;
        }
        prop_assert_eq!(self.expected, range.last + 1);
        Ok(true)
    }

    fn receive(&mut self, outputs: &[Output]) -> Result<(), TestCaseError> {
        for output in outputs {
            match output {
                Output::Served(counter, answer) => {
                    prop_assert_eq!((*counter, answer), (self.expected, &served(*counter)));
                    self.expected += 1;
                }
                Output::Lost(from, reason) => {
                    prop_assert!(self.expected < *from && *from <= self.kept && *reason == Lost::Deleted);
                    self.expected = *from;
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        Ok(())
    }

    fn repeat(&mut self, counter: i64) -> Result<(), TestCaseError> {
        let is_served = counter < self.next;
        let outputs = self.connection.accepted(counter, &stored(counter, is_served.then(|| served(counter))));
        let mut expected = vec![Output::Accepted(counter)];
        if counter < self.expected {
            expected.push(Output::Served(counter, served(counter)));
        }
        prop_assert_eq!(outputs, expected);
        Ok(())
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn every_answer_is_sent_once_and_in_order(
        next in 1_i64..50, back in 0_i64..20, happenings in vec(happening(), 0..40)
    ) {
        let from = (next - back).max(1);
        let mut run = Run { connection: connect(next, from), kept: 1, next, expected: from };
        for happening in happenings {
            match happening {
                Happening::Served(count) => run.next += count,
                Happening::Progress(ago) => {
                    prop_assert_eq!(run.connection.progress(EPOCH, (run.next - ago).max(1)), []);
                }
                Happening::Send(limit) => {
                    run.send(limit, 1)?;
                }
                Happening::SendTwice(limit) => {
                    run.send(limit, 2)?;
                }
                Happening::Deleted(count) => run.kept = (run.kept + count).min(run.next - 1).max(run.kept),
                Happening::Repeat(ago) => run.repeat((run.next + 3 - ago).max(run.kept))?,
            }
            prop_assert_eq!(run.connection.next(), run.expected);
        }
        run.connection.progress(EPOCH, run.next);
        while run.send(7, 1)? {}
        prop_assert_eq!(run.expected, run.next.max(from));
    }

    #[test]
    fn nothing_follows_after_a_connection_is_closed(how in 0_u8..4, next in 1_i64..9) {
        let mut connection = connect(next, 1);
        let (outputs, expected) = match how {
            0 => (connection.progress(Epoch(6), 20), Closed::TakenOver),
            1 => (connection.accepted(20, &Accepted::Fenced), Closed::TakenOver),
            2 => (connection.acknowledged(1), Closed::WrongAcknowledgement),
            _ => (connection.acknowledged(i64::MAX), Closed::WrongAcknowledgement),
        };
        prop_assert_eq!(outputs, [Output::Close(expected)]);
        prop_assert!(connection.is_closed());
        prop_assert_eq!(connection.due(9), None);
        prop_assert_eq!(connection.progress(Epoch(6), 30), []);
        prop_assert_eq!(connection.accepted(1, &stored(1, Some(served(1)))), []);
        prop_assert_eq!(connection.answers(1, [(1, served(1))]), []);
        prop_assert_eq!(connection.acknowledged(i64::MAX), []);
    }
}

#[test]
fn news_of_an_older_connection_are_no_reason_to_close() {
    let mut connection = connect(3, 3);
    assert_eq!(connection.progress(Epoch(4), 3), []);
    assert_eq!((connection.is_closed(), connection.epoch()), (false, EPOCH));
}

#[test]
fn refusals_are_told() {
    let mut connection = connect(3, 3);
    for (accepted, refusal) in [
        (Accepted::Conflict, Refusal::Conflict),
        (Accepted::TooFar { expected: 4 }, Refusal::TooFar { expected: 4 }),
        (Accepted::Gone { kept: 2 }, Refusal::Gone),
    ] {
        assert_eq!(connection.accepted(9, &accepted), [Output::Refused(9, refusal)]);
    }
}

#[test]
fn what_was_sent_can_be_acknowledged() {
    let mut connection = connect(3, 2);
    assert_eq!(connection.acknowledged(1), [], "received over an earlier connection");
    connection.answers(2, [(2, served(2))]);
    assert_eq!(connection.acknowledged(2), []);
    assert_eq!(connection.acknowledged(3), [Output::Close(Closed::WrongAcknowledgement)]);
}

#[test]
fn a_client_may_begin_with_0_after_it_connected() {
    let mut connection = connect(1, 1);
    assert_eq!(connection.due(9), None);
    assert_eq!(connection.accepted(0, &stored(0, None)), [Output::Accepted(0)]);
    assert_eq!(connection.due(9), None, "it waits");
    assert_eq!(connection.progress(EPOCH, 0), []);
    assert_eq!(connection.due(9), None, "it still waits");
    assert_eq!(connection.progress(EPOCH, 1), []);
    assert_eq!(connection.due(9), Some(Range { client: client(0), first: 0, last: 0 }));
    assert_eq!(connection.answers(0, [(0, served(0))]), [Output::Served(0, served(0))]);
    assert_eq!(connection.due(9), None);

    // Its first message was served at once.
    let mut connection = connect(1, 1);
    assert_eq!(connection.accepted(0, &stored(0, Some(served(0)))), [Output::Accepted(0)]);
    assert_eq!(connection.answers(0, [(0, served(0))]), [Output::Served(0, served(0))]);
    assert_eq!(connection.accepted(0, &stored(0, Some(served(0)))).len(), 2, "it asks again");

    // A client that has answers began long ago.
    let mut connection = connect(2, 2);
    let again = [Output::Accepted(0), Output::Served(0, served(0))];
    assert_eq!(connection.accepted(0, &stored(0, Some(served(0)))), again);
}
