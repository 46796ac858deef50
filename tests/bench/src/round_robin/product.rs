//! The product, as real processes.

use std::net::SocketAddr;

use anyhow::Context;
use testkit::{MariaDb, Process, TestDatabase, eventually_ok, free_port};

use super::DEADLINE;
use crate::programs::Started;
use crate::{http, programs};

/// Number of replicas.
pub(super) const REPLICAS: usize = 2;

/// A replica.
pub(super) struct Replica {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    /// The port of its admin listener.
    admin: u16,
}

/// Replicas with their database.
pub(super) struct Product {
    pub(super) database: TestDatabase,
    pub(super) replicas: Vec<Replica>,
}

impl Product {
    /// Starts the replicas, and waits until they are ready.
    pub(super) async fn start(server: &MariaDb, name: &str) -> anyhow::Result<Self> {
        let database = server.database(name).await;
        let mut replicas = Vec::new();
        for number in 1..=REPLICAS {
            let Started { launch, admin } = programs::launch("round-robin-server")?;
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let launch = launch
                .env("DATABASE_URL", database.url())
                .env("LISTEN", address.to_string())
                .env("REPLICA_NAME", format!("replica-{number}"))
                .env("RUST_LOG", "warn");
            replicas.push(Replica { process: launch.spawn(), address, admin });
        }
        for replica in &replicas {
            http::ready(replica.admin, DEADLINE).await?;
        }
        let connection = &mut database.connect().await;
        eventually_ok(DEADLINE, "the tables", async || {
            sqlx::query("SELECT client_id FROM messages LIMIT 1").fetch_all(&mut *connection).await
        })
        .await;
        Ok(Self { database, replicas })
    }

    /// The sum of a value of all replicas' metrics.
    pub(super) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for replica in &self.replicas {
            let url = format!("http://127.0.0.1:{}/metrics", replica.admin);
            let text = testkit::http_get(url).await?.text().await?;
            let value = testkit::metric(&text, name);
            sum += value.with_context(|| format!("no metric {name}"))?.parse::<f64>()?;
        }
        Ok(sum)
    }
}
