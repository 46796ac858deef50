//! Faults of a MariaDB server and its tables.

use std::time::Duration;

use sqlx::{Connection, Executor, MySqlConnection};
use testkit::{MariaDb, Server, eventually_ok};

use crate::rng::Rng;

/// Executes `sql` in a session of its own. If the database stops meanwhile, does so again on another
/// connection.
pub(crate) async fn execute_at_last(url: &str, what: &str, sql: &'static str, deadline: Duration) {
    eventually_ok(deadline, what, async || {
        let mut session = MySqlConnection::connect(url).await?;
        session.execute(sqlx::raw_sql(sql)).await?;
        session.close().await
    })
    .await;
}

/// Kills the server, and starts it again after a moment.
pub(crate) async fn crash(server: &MariaDb, rng: &mut Rng) {
    server.kill();
    tokio::time::sleep(rng.duration(Duration::from_millis(200), Duration::from_secs(1))).await;
    server.up().await;
}
