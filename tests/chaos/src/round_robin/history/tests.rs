//! Histories with one violation each.

use super::*;
use crate::oracle::binlog::Image;

fn history() -> History {
    let layout = Layout::of(&[
        ("turns", &["turn", "replica", "name", "served"]),
        ("clients", &["client_id", "epoch", "next_to_serve", "first_missing"]),
        ("received_messages", &["client_id", "counter", "message", "received_at"]),
        ("served_ranges", &["client_id", "first_counter", "last_counter", "turn", "replica", "served_at"]),
    ]);
    History::new(layout, Quantum::SECOND)
}

fn image(columns: &[&str]) -> Image {
    columns.iter().map(|column| (*column != "NULL").then(|| (*column).to_owned())).collect()
}

fn insert(table: &str, columns: &[&str]) -> Event {
    Event { table: table.to_owned(), change: Change::Insert(image(columns)) }
}

fn update(table: &str, old: &[&str], new: &[&str]) -> Event {
    Event { table: table.to_owned(), change: Change::Update(image(old), image(new)) }
}

fn turn(turn: &str, replica: &str) -> Event {
    insert("turns", &[turn, replica, &format!("r{replica}"), "0"])
}

fn tally(turn: &str, replica: &str, old: &str, new: &str) -> Event {
    let name = format!("r{replica}");
    update("turns", &[turn, replica, &name, old], &[turn, replica, &name, new])
}

fn client(next: &str, missing: &str) -> Event {
    insert("clients", &["c", "1", next, missing])
}

fn store(counter: &str) -> Event {
    insert("received_messages", &["c", counter, "text", "5"])
}

/// Serves a message, in the turn that contains the time.
fn serve(counter: &str, replica: &str, at: &str) -> Event {
    insert("served_ranges", &["c", counter, counter, &at[..2], replica, at])
}

/// Two turns of two replicas, in which a client's messages 1 and 2 are served; 3 waits.
fn good() -> Vec<Transaction> {
    vec![
        vec![turn("10", "1")],
        vec![store("1"), client("1", "2")],
        vec![store("2"), store("3"), client("1", "4")],
        // The rows of one transaction come in any order.
        vec![serve("1", "r1", "10500"), client("2", "4"), tally("10", "1", "0", "1")],
        vec![turn("11", "2")],
        vec![tally("11", "2", "0", "1"), serve("2", "r2", "11000"), client("3", "4")],
    ]
}

fn replay(more: Vec<Transaction>) -> History {
    let mut history = history();
    for transaction in good().into_iter().chain(more) {
        history.apply(&transaction).unwrap();
    }
    history
}

/// Number of violations of each kind, in the order of the fields.
fn counts(history: &History) -> [u64; 12] {
    let found = history.findings();
    [
        &found.outside,
        &found.shared_turns,
        &found.twice,
        &found.gaps,
        &found.disorder,
        &found.unknown,
        &found.changed,
        &found.torn,
        &found.positions,
        &found.tallies,
        &found.epochs,
        &found.turns_back,
    ]
    .map(|cases| cases.count)
}

#[test]
fn a_good_history_has_nothing_to_find() {
    let history = replay(vec![]);
    assert_eq!(counts(&history), [0; 12], "{:?}", history.findings());
    let found = history.findings();
    assert_eq!((found.intakes, found.stored, found.servings, found.served), (2, 3, 2, 2));
    let turns: Vec<_> = history.turns().iter().map(|(turn, row)| (*turn, &*row.name, row.served)).collect();
    assert_eq!(turns, [(10, "r1", 1), (11, "r2", 1)]);
    assert_eq!(history.messages().filter(|(_, message)| message.served.is_some()).count(), 2);
}

#[test]
fn the_first_message_may_be_number_0() {
    let mut history = history();
    let both = insert("served_ranges", &["c", "0", "1", "10", "r1", "10000"]);
    for transaction in [
        vec![turn("10", "1"), store("1"), store("0"), client("0", "2")],
        vec![both, client("2", "2"), tally("10", "1", "0", "2")],
    ] {
        history.apply(&transaction).unwrap();
    }
    assert_eq!(counts(&history), [0; 12], "{:?}", history.findings());
}

#[test]
fn serving_out_of_turn_is_found() {
    // By the replica of the turn before.
    let late = vec![serve("3", "r1", "10999"), client("4", "4"), tally("11", "2", "1", "2")];
    let history = replay(vec![late]);
    assert_eq!(counts(&history), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
    // By the other replica, within the turn.
    let other = vec![serve("3", "r1", "11500"), client("4", "4"), tally("11", "2", "1", "2")];
    let history = replay(vec![other]);
    assert_eq!(counts(&history), [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
    // By the right replica, after the turn ended.
    let overtime = vec![serve("3", "r2", "12000"), client("4", "4"), tally("11", "2", "1", "2")];
    let history = replay(vec![overtime]);
    assert_eq!(counts(&history), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
}

#[test]
fn a_turn_of_two_replicas_is_found() {
    let row = update("turns", &["11", "2", "r2", "1"], &["11", "1", "r1", "1"]);
    assert_eq!(counts(&replay(vec![vec![row]])), [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(counts(&replay(vec![vec![turn("10", "2")]])), [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(counts(&replay(vec![vec![turn("9", "2")]])), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn serving_under_another_turn_is_found() {
    let wrong = insert("served_ranges", &["c", "3", "3", "12", "r2", "11500"]);
    let history = replay(vec![vec![wrong, client("4", "4"), tally("11", "2", "1", "2")]]);
    assert_eq!(counts(&history), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
}

#[test]
fn a_message_served_twice_is_found() {
    let history = replay(vec![vec![serve("2", "r2", "11001"), tally("11", "2", "1", "2")]]);
    assert_eq!(counts(&history), [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
    // A range that overlaps the one before.
    let overlap = insert("served_ranges", &["c", "2", "3", "11", "r2", "11001"]);
    let history = replay(vec![vec![overlap, client("4", "4"), tally("11", "2", "1", "3")]]);
    assert_eq!(counts(&history), [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
}

#[test]
fn a_message_that_was_not_stored_is_found() {
    let beyond = insert("served_ranges", &["c", "3", "4", "11", "r2", "11001"]);
    let history = replay(vec![vec![beyond, client("5", "5"), tally("11", "2", "1", "3")]]);
    assert_eq!(counts(&history), [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
}

#[test]
fn a_message_left_out_is_found() {
    let skip = vec![store("4"), serve("4", "r2", "11001"), tally("11", "2", "1", "2"), client("5", "5")];
    let history = replay(vec![skip.clone()]);
    assert_eq!(counts(&history), [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
    let history = replay(vec![skip, vec![serve("3", "r2", "11002"), tally("11", "2", "2", "3")]]);
    assert_eq!(counts(&history), [0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0], "{:?}", history.findings());
}

#[test]
fn a_changed_or_deleted_row_is_found() {
    let text = update("received_messages", &["c", "3", "text", "5"], &["c", "3", "other", "5"]);
    let range = ["c", "2", "2", "11", "r2", "11000"];
    let again = update("served_ranges", &range, &["c", "2", "2", "11", "r1", "11000"]);
    let deleted =
        |table: &str, columns: &[&str]| Event { table: table.to_owned(), change: Change::Delete(image(columns)) };
    for change in
        [text, again, deleted("served_ranges", &range), deleted("received_messages", &["c", "3", "text", "5"])]
    {
        assert_eq!(counts(&replay(vec![vec![change]])), [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn a_wrong_position_tally_or_epoch_is_found() {
    assert_eq!(counts(&replay(vec![vec![client("4", "4")]])), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(counts(&replay(vec![vec![client("3", "5")]])), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let extra = tally("11", "2", "1", "3");
    assert_eq!(counts(&replay(vec![vec![extra]])), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    let epoch = insert("clients", &["c", "0", "3", "4"]);
    assert_eq!(counts(&replay(vec![vec![epoch]])), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn work_that_waits_in_a_turn_is_known() {
    let history = replay(vec![
        vec![turn("12", "1")],
        vec![turn("13", "2")],
        vec![serve("3", "r2", "13000"), client("4", "4"), tally("13", "2", "0", "1")],
        vec![turn("14", "1")],
    ]);
    assert_eq!(counts(&history), [0; 12], "{:?}", history.findings());
    let turns: Vec<_> = history.turns().values().map(|row| (row.had_work, row.served)).collect();
    assert_eq!(turns, [(true, 1), (true, 1), (true, 0), (true, 1), (false, 0)]);
}
