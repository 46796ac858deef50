//! Reads for the API and the page.

use async_trait::async_trait;
use kit_database::Result;
use round_robin_core::tables::REPLICA_KEPT_MS;
use round_robin_core::types::{ClientId, ClientRow, MessageRow, ReplicaRow, Turn, TurnRow};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{SqliteStore, client, now_ms};
use crate::{ClientOverview, ClientStatus, Overview, Page, QueryStore, rows};

#[async_trait]
impl QueryStore for SqliteStore {
    async fn ping(&self) -> Result<()> {
        for sql in rows::PING {
            sqlx::query(sql).fetch_optional(self.pool.reader()).await?;
        }
        Ok(())
    }

    async fn client(&self, id: &ClientId) -> Result<Option<ClientStatus>> {
        let mut transaction = self.pool.snapshot().await?;
        let Some(row) = client(&mut transaction, id).await? else { return Ok(None) };
        let above: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM received_messages WHERE client_id = ? AND counter > ?")
                .bind(id.as_str())
                .bind(row.missing)
                .fetch_one(&mut *transaction)
                .await?;
        Ok(Some(ClientStatus::new(row, above)))
    }

    async fn message(&self, client: &ClientId, counter: i64) -> Result<Option<MessageRow>> {
        let mut connection = self.pool.reader().acquire().await?;
        message(&mut connection, client, counter).await
    }

    async fn messages(&self, page: &Page) -> Result<Vec<MessageRow>> {
        let sql = format!(
            "SELECT {} FROM messages WHERE client_id = ? AND counter > ? ORDER BY counter LIMIT ?",
            rows::MESSAGE
        );
        let after = page.after.unwrap_or(i64::MIN);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(page.client.as_str()).bind(after).bind(page.limit);
        query.fetch_all(self.pool.reader()).await?.iter().map(rows::message).collect()
    }

    async fn turns(&self, before: Option<Turn>, limit: u32) -> Result<Vec<TurnRow>> {
        let mut connection = self.pool.reader().acquire().await?;
        turns(&mut connection, before, limit).await
    }

    async fn overview(&self, turns_limit: u32, clients_limit: u32) -> Result<Overview> {
        let mut transaction = self.pool.snapshot().await?;
        let now = now_ms(&mut transaction).await?;
        let (client_count, waiting) = sqlx::query_as(
            "SELECT COUNT(*), COALESCE((SELECT SUM(first_missing - next_to_serve) FROM clients \
                                        WHERE next_to_serve < first_missing), 0) FROM clients",
        )
        .fetch_one(&mut *transaction)
        .await?;
        Ok(Overview {
            now,
            replicas: replicas(&mut transaction, now).await?,
            turns: turns(&mut transaction, None, turns_limit).await?,
            clients: clients(&mut transaction, clients_limit).await?,
            client_count,
            waiting,
        })
    }
}

async fn message(connection: &mut SqliteConnection, client: &ClientId, counter: i64) -> Result<Option<MessageRow>> {
    let sql = format!("SELECT {} FROM messages WHERE client_id = ? AND counter = ?", rows::MESSAGE);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(client.as_str()).bind(counter);
    query.fetch_optional(connection).await?.as_ref().map(rows::message).transpose()
}

async fn turns(connection: &mut SqliteConnection, before: Option<Turn>, limit: u32) -> Result<Vec<TurnRow>> {
    let sql = format!("SELECT {} FROM turns WHERE turn < ? ORDER BY turn DESC LIMIT ?", rows::TURN);
    let before = before.map_or(i64::MAX, |turn| turn.0);
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(before).bind(limit).fetch_all(connection).await?;
    rows.iter().map(rows::turn).collect()
}

async fn replicas(connection: &mut SqliteConnection, now: i64) -> Result<Vec<ReplicaRow>> {
    let sql = format!("SELECT {} FROM replicas WHERE heartbeat >= ? ORDER BY id", rows::REPLICA);
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(now - REPLICA_KEPT_MS).fetch_all(connection).await?;
    rows.iter().map(rows::replica).collect()
}

async fn clients(connection: &mut SqliteConnection, limit: u32) -> Result<Vec<ClientOverview>> {
    let sql = format!("SELECT {} FROM clients ORDER BY seen_at DESC, client_id DESC LIMIT ?", rows::CLIENT);
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(limit).fetch_all(&mut *connection).await?;
    let rows: Vec<ClientRow> = rows.iter().map(rows::client).collect::<Result<_>>()?;
    let mut clients = Vec::with_capacity(rows.len());
    for row in rows {
        let last_served = match row.last_served() {
            Some(counter) => message(connection, &row.id, counter).await?,
            None => None,
        };
        clients.push(ClientOverview { row, last_served });
    }
    Ok(clients)
}
