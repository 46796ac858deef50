//! Reads the file at the end, and counts what is wrong.

use std::time::Duration;

use anyhow::{Context, Result};
use counting_words::lines::compare;

use super::table::Table;
use super::watch::Watched;
use crate::report::Report;

/// Numbers that the system has to count after the last fault.
const PROGRESS: u64 = 50;

/// Time limit for a process to end.
const ENDED: Duration = Duration::from_secs(30);

/// The longest time without a new line while everything runs.
const STANDSTILL: Duration = Duration::from_secs(8);

/// Waits until the system counts again after the last fault.
pub(super) async fn wait_for_progress(table: &Table) -> Result<()> {
    table.board.quiet().await;
    let before = lines(&std::fs::read(table.file())?);
    table.counts_to(before + PROGRESS).await;
    Ok(())
}

/// Ends the system, and judges the file.
pub(super) async fn judge(table: &Table, watched: &Watched, short: bool, report: &mut Report) -> Result<()> {
    for client in &table.clients {
        client.terminate_and_wait(ENDED).await;
    }
    let acknowledged = table.acknowledged();
    table.server.terminate_and_wait(ENDED).await;

    let counts = table.board.counts();
    let faults: Vec<_> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    report.told(format!("faults: {}", faults.join(", ")), counts.values().sum::<u64>());
    report.told("clients that ended and were started again", watched.restarts);
    let text = std::fs::read(table.file()).context("reading the file")?;
    let right = compare(1, &text);
    report.told("lines of the file", lines(&text));
    report.exactly("  line n is n in words", right.lines, lines(&text));
    let rest = text.len() - right.bytes;
    report.nothing("  bytes of gaps, duplicates and torn lines", &[wrong(&text[right.bytes..])], rest as u64);
    let missing = acknowledged.saturating_sub(right.lines);
    report.nothing("acknowledged but missing", &[format!("{acknowledged} is the last one")], missing);
    let (name, limit) = ("longest time without a new line while all ran", format!("≤ {} s", STANDSTILL.as_secs()));
    let longest = format!("{:.1} s", watched.longest.as_secs_f64());
    if short {
        report.not_judged(name, longest, limit);
    } else {
        report.judged(name, longest, limit, watched.longest <= STANDSTILL);
    }
    let ends: Vec<_> = std::iter::once(&table.server)
        .chain(table.clients.iter().zip(table.kinds).filter(|(_, kind)| !kind.ends()).map(|(client, _)| client))
        .flat_map(|member| member.unasked_ends())
        .collect();
    report.nothing("processes that ended without a signal", &ends, ends.len() as u64);
    Ok(())
}

fn lines(text: &[u8]) -> u64 {
    // After the last newline, there is one more part, which is empty unless a line is torn.
    text.split(|byte| *byte == b'\n').count() as u64 - 1
}

fn wrong(text: &[u8]) -> String {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    format!("the first wrong line is {:?}", String::from_utf8_lossy(&line[..line.len().min(100)]))
}
