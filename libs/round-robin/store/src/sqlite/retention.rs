//! Deleting what is old.

use async_trait::async_trait;
use kit_database::Result;
use round_robin_core::types::{ClientId, ClientRow};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{SqliteStore, now_ms};
use crate::RetentionStore;
use crate::retention::{Before, CLIENTS, MESSAGES, TURNS, first_kept};
use crate::rows::{self, BLOCK};

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn delete_old_messages(&self, acknowledged_ms: i64, unacknowledged_ms: i64) -> Result<u64> {
        let mut transaction = self.pool.begin().await?;
        let now = now_ms(&mut transaction).await?;
        let before = Before {
            acknowledged: now.saturating_sub(acknowledged_ms),
            unacknowledged: now.saturating_sub(unacknowledged_ms),
        };
        let (mut deleted, mut after) = (0, None);
        while deleted == 0 {
            let clients = candidates(&mut transaction, before, after.as_ref()).await?;
            for client in &clients {
                deleted += delete(&mut transaction, client, before).await?;
            }
            let Some(last) = clients.into_iter().next_back() else { break };
            after = Some(last.id);
        }
        transaction.commit().await?;
        Ok(deleted)
    }

    async fn delete_old_turns(&self, age_ms: i64) -> Result<u64> {
        let mut transaction = self.pool.begin().await?;
        let before = now_ms(&mut transaction).await?.saturating_sub(age_ms);
        let sql = "DELETE FROM turns WHERE turn IN (SELECT turn FROM turns WHERE turn * ? < ? \
                   AND turn < (SELECT MAX(turn) FROM turns) ORDER BY turn LIMIT ?)";
        let query = sqlx::query(sql).bind(self.quantum.as_millis()).bind(before).bind(TURNS);
        let done = query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }
}

/// Clients after the client `after` whose first message is old enough.
async fn candidates(
    connection: &mut SqliteConnection,
    before: Before,
    after: Option<&ClientId>,
) -> Result<Vec<ClientRow>> {
    let sql = format!(
        "SELECT {} FROM clients WHERE client_id > ? AND first_kept < next_to_serve - 1 AND NOT EXISTS \
         (SELECT 1 FROM served_ranges AS served \
          WHERE served.client_id = clients.client_id AND served.block = clients.first_kept / {BLOCK} \
          AND served.first_counter <= clients.first_kept AND served.last_counter >= clients.first_kept \
          AND served.served_at >= CASE WHEN first_kept <= acknowledged THEN ? ELSE ? END) \
         ORDER BY client_id LIMIT ?",
        rows::CLIENT
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(after.map_or("", ClientId::as_str));
    let query = query.bind(before.acknowledged).bind(before.unacknowledged).bind(CLIENTS);
    query.fetch_all(connection).await?.iter().map(rows::client).collect()
}

/// Deletes messages of a client that are old enough, and returns their number.
async fn delete(connection: &mut SqliteConnection, client: &ClientRow, before: Before) -> Result<u64> {
    let sql = format!(
        "SELECT {} FROM served_ranges WHERE client_id = ?1 AND block BETWEEN ?2 / {BLOCK} AND ?3 / {BLOCK} \
         AND last_counter >= ?2 ORDER BY first_counter",
        rows::SERVED
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(client.id.as_str()).bind(client.kept);
    let served = query.bind(client.kept + MESSAGES).fetch_all(&mut *connection).await?;
    let served = served.iter().map(rows::served).collect::<Result<Vec<_>>>()?;
    let kept = first_kept(client, &served, before);
    let done = sqlx::query("DELETE FROM received_messages WHERE client_id = ? AND counter < ?")
        .bind(client.id.as_str())
        .bind(kept)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM served_ranges WHERE client_id = ? AND block <= ? AND last_counter < ?")
        .bind(client.id.as_str())
        .bind(kept / BLOCK)
        .bind(kept)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE clients SET first_kept = ? WHERE client_id = ?")
        .bind(kept)
        .bind(client.id.as_str())
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
