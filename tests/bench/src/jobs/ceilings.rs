//! The ceilings: rates that the database and the broker reach alone.

use std::time::{Duration, Instant};

use anyhow::Context;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel};
use sqlx::MySqlConnection;
use testkit::TestDatabase;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::CONNECTIONS;
use super::servers::Servers;
use crate::stats::float;

/// Time limit of a loop beyond its duration.
const PATIENCE: Duration = Duration::from_mins(1);

/// The queue of the loop.
pub(super) const QUEUE: &str = "bare";

/// Connections that insert and commit, one row at a time each.
pub(super) struct Inserts(Vec<MySqlConnection>);

impl Inserts {
    pub(super) async fn open(database: &TestDatabase) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(database.connect().await);
        }
        Self(connections)
    }

    /// Inserts for `duration`. Returns rows per second.
    pub(super) async fn run(&mut self, duration: Duration) -> anyhow::Result<f64> {
        let (mut loops, began) = (JoinSet::new(), Instant::now());
        for connection in self.0.drain(..) {
            loops.spawn(insert(connection, began + duration));
        }
        let mut rows = 0;
        while let Some(ended) = next(&mut loops, duration).await? {
            let (connection, count) = ended?;
            rows += count;
            self.0.push(connection);
        }
        Ok(float(rows) / began.elapsed().as_secs_f64())
    }
}

/// Inserts rows with autocommit, which is the cheapest way to commit a row.
async fn insert(mut connection: MySqlConnection, end: Instant) -> anyhow::Result<(MySqlConnection, u64)> {
    let sql = "INSERT INTO bare_jobs (id, request_hash, kind, payload, max_attempts, created_at, run_at, due_at) \
               VALUES (?, ?, 'user-request', ?, 5, 1, 1, 1)";
    let mut count = 0;
    while Instant::now() < end {
        let query = sqlx::query(sql).bind(Uuid::now_v7().as_bytes().to_vec()).bind(vec![0; 32]);
        query.bind(r#"{"user_id":"ada","data":"what a user asks for"}"#).execute(&mut connection).await?;
        count += 1;
    }
    Ok((connection, count))
}

/// A channel on which several loops publish.
pub(super) struct Publishes(Channel);

impl Publishes {
    pub(super) async fn open(servers: &Servers) -> anyhow::Result<Self> {
        servers.declare(QUEUE).await?;
        let channel = servers.channel().await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        tokio::time::timeout(PATIENCE, confirming).await.context("confirms")??;
        Ok(Self(channel))
    }

    /// Publishes for `duration`. Returns messages per second.
    pub(super) async fn run(&self, duration: Duration) -> anyhow::Result<f64> {
        let (mut loops, began) = (JoinSet::new(), Instant::now());
        for _ in 0..CONNECTIONS {
            loops.spawn(publish(self.0.clone(), began + duration));
        }
        let mut messages = 0;
        while let Some(ended) = next(&mut loops, duration).await? {
            messages += ended?;
        }
        Ok(float(messages) / began.elapsed().as_secs_f64())
    }
}

async fn publish(channel: Channel, end: Instant) -> anyhow::Result<u64> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let mut count = 0;
    while Instant::now() < end {
        let body = Uuid::now_v7();
        let publishing = channel.basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), persistent.clone());
        let confirmation = publishing.await?.await?;
        anyhow::ensure!(confirmation.is_ack(), "the broker refused a message");
        count += 1;
    }
    Ok(count)
}

/// Waits for the next loop to end.
async fn next<T: 'static>(loops: &mut JoinSet<T>, duration: Duration) -> anyhow::Result<Option<T>> {
    let ended = tokio::time::timeout(duration + PATIENCE, loops.join_next()).await.context("a loop hangs")?;
    Ok(ended.transpose()?)
}
