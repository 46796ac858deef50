//! The database and the broker that all sides share.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use lapin::options::{QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use sqlx::MySqlConnection;
use testkit::{Launch, MariaDb, MariaDbOptions, RabbitMq, TestDatabase};

use super::DEADLINE;

/// Interval at which a condition is polled.
const POLL: Duration = Duration::from_millis(20);

/// Time limit for an answer of the broker.
const PATIENCE: Duration = Duration::from_secs(20);

/// Private servers, and a connection to the broker.
pub(super) struct Servers {
    database: MariaDb,
    broker: RabbitMq,
    connection: Connection,
}

impl Servers {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let (database, broker) = tokio::join!(MariaDb::start(MariaDbOptions::default()), RabbitMq::start());
        let connecting = Connection::connect(broker.url(), ConnectionProperties::default());
        let connection = tokio::time::timeout(PATIENCE, connecting).await.context("a connection to the broker")??;
        Ok(Self { database, broker, connection })
    }

    /// Describes the servers and the settings that the product and the baselines share.
    pub(super) async fn describe(&self) -> anyhow::Result<String> {
        let database = self.database("settings").await;
        let sql = "SELECT VERSION(), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";
        let (version, flush): (String, i64) = sqlx::query_as(sql).fetch_one(&mut database.connect().await).await?;
        let rabbitmq = self.broker.ctl(&["version"]).await.concat();
        Ok(format!(
            "private servers: {version}, innodb_flush_log_at_trx_commit={flush}, no binary log; RabbitMQ {rabbitmq}"
        ))
    }

    /// Folder of the data of the database.
    pub(super) fn data(&self) -> PathBuf {
        self.database.data()
    }

    /// Creates a database.
    pub(super) async fn database(&self, name: &str) -> TestDatabase {
        self.database.database(name).await
    }

    /// Sets the addresses of the servers for a program of the product.
    pub(super) fn settings(&self, launch: Launch, database: &TestDatabase) -> Launch {
        launch.env("DATABASE_URL", database.url()).env("AMQP_URL", self.broker.url())
    }

    /// Sets the addresses of the servers for a baseline in Python.
    pub(super) fn python_settings(&self, launch: Launch, database: &TestDatabase) -> Launch {
        launch
            .env("DATABASE_PORT", self.database.address().port().to_string())
            .env("DATABASE_NAME", database.name())
            .env("AMQP_URL", self.broker.url())
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }

    /// Opens a channel.
    pub(super) async fn channel(&self) -> anyhow::Result<Channel> {
        let opening = self.connection.create_channel();
        Ok(tokio::time::timeout(PATIENCE, opening).await.context("a channel")??)
    }

    /// Declares a quorum queue, like those of the product.
    pub(super) async fn declare(&self, queue: &'static str) -> anyhow::Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let channel = self.channel().await?;
        let declaring = channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments);
        tokio::time::timeout(PATIENCE, declaring).await.context("a queue")??;
        Ok(())
    }

    /// Empties a queue.
    pub(super) async fn purge(&self, queue: &'static str) -> anyhow::Result<()> {
        let channel = self.channel().await?;
        let purging = channel.queue_purge(queue.into(), QueuePurgeOptions::default());
        tokio::time::timeout(PATIENCE, purging).await.context("an empty queue")??;
        Ok(())
    }
}

/// Waits until a count is `wanted`.
pub(super) async fn until_count(
    connection: &mut MySqlConnection,
    sql: &'static str,
    wanted: u64,
) -> anyhow::Result<()> {
    let end = Instant::now() + DEADLINE;
    loop {
        // Requests that were just sent have time to start.
        tokio::time::sleep(POLL).await;
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
        if count.unsigned_abs() == wanted {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < end, "waited {DEADLINE:?} for {wanted} in {sql}: {count}");
    }
}

/// Executes statements in order.
pub(super) async fn execute(connection: &mut MySqlConnection, statements: &[&'static str]) -> anyhow::Result<()> {
    for sql in statements {
        sqlx::raw_sql(*sql).execute(&mut *connection).await.context(*sql)?;
    }
    Ok(())
}
