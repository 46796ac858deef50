//! Compares the history, the tables and what clients saw.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::cluster::{Cluster, QUANTUM};
use super::history::{Findings, History};
use super::injector::Absence;
use super::record::{Answer, Record, text_of};
use super::rows::{self, Message};
use crate::oracle::cases::Cases;
use crate::report::Report;
use crate::stats::percentile;
use round_robin_core::types::Turn;

/// Time after its end in which a process may still get a turn, in milliseconds.
const GONE: i64 = 2000;

/// The rows of `messages`, by client and counter.
type Table = BTreeMap<(String, i64), Message>;

/// Reports what the log and the table say. Nothing may write any more. Returns the history.
pub(crate) async fn judge(cluster: &Cluster, report: &mut Report) -> Result<(History, Table)> {
    let table = rows::table(&mut cluster.connect().await?).await?;
    let (history, torn) = cluster.history().await?;
    report_findings(report, history.findings(), torn);
    report_table(report, &history, &table);
    Ok((history, table))
}

fn report_findings(report: &mut Report, found: &Findings, torn: u64) {
    report.told("binary log: transactions", found.transactions);
    report.told("  transactions cut off by a crash", torn);
    report.told("  messages stored, in transactions", format!("{}, {}", found.stored, found.intakes));
    report.told("  turns recorded after a later one, in which nobody served", found.turns_back.count);
    let served = format!("{}, {}, {}", found.served, found.ranges, found.servings);
    report.told("  messages served, in ranges, in transactions", served);
    for (name, cases) in [
        ("  served outside the turn of their replica", &found.outside),
        ("  turns with two replicas", &found.shared_turns),
        ("  duplicates: marked as served twice", &found.twice),
        ("  gaps: served before an earlier one of the client", &found.gaps),
        ("  order: served after a later one of the client", &found.disorder),
        ("  served and not stored", &found.unknown),
        ("  rows changed or deleted", &found.changed),
        ("  changes that do not follow from the one before", &found.torn),
        ("  commits that leave a wrong position of a client", &found.positions),
        ("  commits that leave a wrong number in a turn", &found.tallies),
        ("  epochs that went back", &found.epochs),
    ] {
        report.nothing(name, &cases.told, cases.count);
    }
}

/// Checks that the table is the end of the history, and that each client's messages are stored and
/// served from the first to the last.
fn report_table(report: &mut Report, history: &History, table: &Table) {
    let mut differing = Cases::default();
    let mut replayed = 0;
    for (client, message) in history.messages() {
        replayed += 1;
        let row = table.get(&(client.to_owned(), message.counter));
        if row != Some(message) {
            differing.add(|| format!("{client}: {row:?} in the table, {message:?} by the log"));
        }
    }
    if replayed != table.len() {
        differing.add(|| format!("{} rows in the table, {replayed} by the log", table.len()));
    }
    let (mut gaps, mut unserved) = (Cases::default(), Cases::default());
    let mut before: Option<&(String, i64)> = None;
    for (key, message) in table {
        let expected = before.filter(|before| before.0 == key.0).map_or(1, |before| before.1 + 1);
        if key.1 != expected {
            gaps.add(|| format!("{}: {} in place of {expected}", key.0, key.1));
        }
        if message.served.is_none() {
            unserved.add(|| format!("{key:?}: {message:?}"));
        }
        before = Some(key);
    }
    report.nothing("rows that differ from the end of their history", &differing.told, differing.count);
    report.nothing("gaps: counters missing in the table", &gaps.told, gaps.count);
    report.nothing("messages that were not served in the end", &unserved.told, unserved.count);
}

/// Reports what clients saw, and compares it with the table.
pub(crate) fn report_records(report: &mut Report, records: Vec<Record>, table: &Table) {
    let mut all = Record::default();
    let (mut accepted, mut answers) = (0, 0);
    let (mut lost, mut differing, mut texts) = (Cases::default(), Cases::default(), Cases::default());
    for record in records {
        let row = |counter: i64| table.get(&(record.client.clone(), counter));
        for counter in &record.accepted {
            accepted += 1;
            if row(*counter).is_none_or(|message| message.served.is_none()) {
                lost.add(|| format!("{} {counter}", record.client));
            }
        }
        for (counter, answer) in &record.answers {
            answers += 1;
            let served = row(*counter).and_then(|message| message.served.as_ref());
            if served.map(|served| Answer { replica: served.replica.to_string(), at: served.at }).as_ref()
                != Some(answer)
            {
                differing.add(|| format!("{} {counter}: {answer:?}, {served:?} in the table", record.client));
            }
        }
        for (event, count) in record.events {
            *all.events.entry(event).or_default() += count;
        }
        all.delays.extend(record.delays);
        all.first_answers += record.first_answers;
        all.astray.join(record.astray);
        all.disorder.join(record.disorder);
        all.differing.join(record.differing);
        all.back.join(record.back);
        all.wrong.join(record.wrong);
    }
    for ((client, counter), message) in table {
        if *message.text != text_of(client, *counter) {
            texts.add(|| format!("{client} {counter}: {}", message.text));
        }
    }
    for (event, count) in &all.events {
        report.told(format!("clients: {event}"), count);
    }
    report.told("clients: messages accepted, answers", format!("{accepted}, {answers}"));
    report.told("clients: reconnects whose first answer was looked at", all.first_answers);
    for (name, cases) in [
        ("  first answer not last served + 1", &all.astray),
        ("  answers out of order", &all.disorder),
        ("  answers that differ when repeated", &all.differing),
        ("  positions that went back", &all.back),
        ("  anything else that must not be said", &all.wrong),
        ("  accepted, and not stored and served", &lost),
        ("  answers that differ from the table", &differing),
        ("  texts that nobody sent", &texts),
    ] {
        report.nothing(name, &cases.told, cases.count);
    }
    all.delays.sort_unstable();
    report.told("from reconnect begun to next answer: p50, p99, largest", delays(&all.delays));
}

/// Turns that were given to a process after it was gone for a while.
pub(crate) fn report_absences(report: &mut Report, history: &History, absences: &[Absence]) {
    let mut late = Cases::default();
    for (turn, row) in history.turns() {
        let (start, end) = (QUANTUM.start_of(Turn(*turn)), QUANTUM.start_of(Turn(*turn + 1)));
        // A replica that is back before the end may get the rest of a turn that nobody had.
        let is_gone =
            |absence: &&Absence| *absence.life == *row.name && start > absence.from + GONE && end <= absence.until;
        if let Some(absence) = absences.iter().find(is_gone) {
            late.add(|| format!("turn {turn} begins {} ms after {} was gone", start - absence.from, absence.life));
        }
    }
    report.nothing("turns of a replica that was gone for 2 s", &late.told, late.count);
}

/// Turns in which messages could be served and none was.
pub(crate) fn idle_turns(history: &History, turns: impl Fn(i64) -> bool) -> Cases {
    let mut idle = Cases::default();
    for (turn, row) in history.turns() {
        if turns(*turn) && row.had_work && row.served == 0 {
            idle.add(|| format!("turn {turn} of {}", row.name));
        }
    }
    idle
}

/// Median, 99th percentile and largest of sorted times.
pub(crate) fn delays(sorted: &[Duration]) -> String {
    let seconds = |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.3}", time.as_secs_f64()));
    let [p50, p99, largest] = [50, 99, 100].map(|percent| seconds(percentile(sorted, percent)));
    format!("{p50}, {p99}, {largest} s")
}
