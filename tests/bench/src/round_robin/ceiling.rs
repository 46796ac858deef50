//! The ceiling: the rate at which the database stores the same rows and does nothing else.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, MySqlConnection};
use testkit::TestDatabase;
use tokio::task::JoinSet;

use super::load::TEXT;
use crate::stats::float;

/// The columns of a row that waits.
const INSERT: &str = "INSERT INTO bare_messages (client_id, counter, message, received_at) VALUES ";

/// Inserts batches of rows, each committed, for `duration` on so many connections. Returns rows per
/// second.
pub(super) async fn run(
    database: &TestDatabase,
    connections: usize,
    batch: u64,
    duration: Duration,
) -> anyhow::Result<f64> {
    let mut loops = JoinSet::new();
    for number in 0..connections {
        loops.spawn(insert(database.connect().await, number, batch, duration));
    }
    let mut rate = 0.0;
    while let Some(ended) = loops.join_next().await {
        rate += ended??;
    }
    Ok(rate)
}

async fn insert(mut connection: MySqlConnection, number: usize, batch: u64, duration: Duration) -> anyhow::Result<f64> {
    let (began, mut rows) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let mut sql = String::from(INSERT);
        for row in 1..=batch {
            let separator = if row < batch { "," } else { "" };
            write!(sql, "('bare-{number}',{},'{TEXT}',1){separator}", rows + row)?;
        }
        // One statement with autocommit: the cheapest way to commit a batch.
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        rows += batch;
    }
    Ok(float(rows) / began.elapsed().as_secs_f64())
}
