//! Measures the time until the ids of a killed worker tick again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use super::cluster::{Cluster, DEADLINE};
use crate::faults::Board;
use crate::fleet::Member;
use crate::rng::Rng;

/// Interval at which the survivors' logs are read.
const PAUSE: Duration = Duration::from_millis(5);

/// One kill.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    /// Time from SIGKILL until another worker had ticked the last of the ids.
    pub(crate) last: Duration,
    /// Number of ids that the worker owned.
    pub(crate) ids: usize,
}

/// Kills workers one after the other, each in a steady system with room for the ids.
/// Starts the replacement only after all ids tick again, so that the measured time does
/// not include its start.
pub(crate) async fn run(cluster: &Cluster, kills: usize, board: &Board, mut rng: Rng) -> Result<Vec<Kill>> {
    let mut done = Vec::new();
    while done.len() < kills {
        cluster.steady().await;
        // At any time between two heartbeats.
        tokio::time::sleep(rng.duration(Duration::ZERO, Duration::from_secs(1))).await;
        let victim = rng.pick(&cluster.workers).context("a worker")?;
        let ids = ids_of(cluster, victim).await?;
        ensure!(!ids.is_empty(), "{} has no ids to lose", victim.life());
        let survivors: Vec<_> =
            cluster.workers.iter().filter(|worker| worker.name() != victim.name()).cloned().collect();
        let active = board.begin("SIGKILL of a worker", victim.life());
        let last = until_ticked(victim, &survivors, &ids).await?;
        drop(active);
        done.push(Kill { last, ids: ids.len() });
        victim.kill_and_wait().await;
        victim.start();
    }
    cluster.steady().await;
    Ok(done)
}

async fn ids_of(cluster: &Cluster, worker: &Member) -> Result<BTreeSet<i64>> {
    let mut connection = cluster.database.connect().await;
    let sql = "SELECT id FROM `values` JOIN workers ON owner = incarnation WHERE name = ? AND state = 'active'";
    let ids: Vec<i64> = sqlx::query_scalar(sql).bind(worker.life()).fetch_all(&mut connection).await?;
    Ok(ids.into_iter().collect())
}

/// Kills `victim`, and waits until survivors have logged a tick of each of `ids`. The
/// line is written after the commit and read a moment later, so the measured time is
/// never too short.
async fn until_ticked(victim: &Member, survivors: &[Arc<Member>], ids: &BTreeSet<i64>) -> Result<Duration> {
    let processes: Vec<_> = survivors.iter().filter_map(|survivor| survivor.process()).collect();
    let mut read: Vec<usize> = processes.iter().map(|process| process.line_count()).collect();
    let mut waiting = ids.clone();
    let mut last = Duration::ZERO;
    let killed = Instant::now();
    victim.kill();
    while !waiting.is_empty() {
        ensure!(killed.elapsed() < DEADLINE, "{} still wait for a worker after {DEADLINE:?}", waiting.len());
        tokio::time::sleep(PAUSE).await;
        for (process, read) in processes.iter().zip(&mut read) {
            for line in process.lines_from(*read) {
                *read += 1;
                for id in ticked(&line.text) {
                    if waiting.remove(&id) {
                        last = last.max(line.at.saturating_duration_since(killed));
                    }
                }
            }
        }
    }
    Ok(last)
}

/// Parses the ids from the log line of a tick; none from any other line.
fn ticked(line: &str) -> Vec<i64> {
    let line: Json = serde_json::from_str(line).unwrap_or_default();
    if line["message"] != "tick" {
        return Vec::new();
    }
    let values = line["values"].as_str().unwrap_or_default();
    values.split(' ').filter_map(|pair| pair.split_once('=')?.0.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_ticks_only() {
        let tick = r#"{"timestamp":"2026-11-21T10:00:00Z","level":"INFO","message":"tick","worker":"w","values":"3=10 14=-2"}"#;
        assert_eq!(ticked(tick), [3, 14]);
        assert_eq!(ticked(&tick.replace("3=10 14=-2", "")), [0; 0]);
        assert_eq!(ticked(&tick.replace("\"tick\"", "\"assignment changed\"")), [0; 0]);
        assert_eq!(ticked("not json"), [0; 0]);
    }
}
