//! Operations of a replica.

use async_trait::async_trait;
use kit_database::Result;
use round_robin_core::tables::{Beat, REPLICA_KEPT_MS, ServedBatch, Waiting};
use round_robin_core::turns::{DEAD_AFTER_MS, Quantum, is_live, replica_of};
use round_robin_core::types::{ClientId, Range, Registration, ReplicaId, ReplicaRow, Turn, TurnRow};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{SqliteStore, client, now_ms, update_client, waiting};
use crate::{Registered, ReplicaStore, new_token, rows};

#[async_trait]
impl ReplicaStore for SqliteStore {
    async fn register(&self, name: &str) -> Result<Registered> {
        let mut transaction = self.pool.begin().await?;
        let now = now_ms(&mut transaction).await?;
        let quantum = agree(&mut transaction, self.quantum, now).await?;
        if quantum != self.quantum {
            return Ok(Registered::OtherQuantum(quantum));
        }
        delete_replicas(&mut transaction, now - REPLICA_KEPT_MS).await?;
        let token = new_token();
        let id = sqlx::query_scalar("INSERT INTO replicas (name, heartbeat, token) VALUES (?, ?, ?) RETURNING id")
            .bind(name)
            .bind(now)
            .bind(token.0)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Registered::As(Registration { id: ReplicaId(id), token }))
    }

    async fn beat(&self, replica: Registration) -> Result<Beat> {
        let mut transaction = self.pool.begin().await?;
        let now = now_ms(&mut transaction).await?;
        let found = sqlx::query("UPDATE replicas SET heartbeat = ? WHERE id = ? AND token = ?")
            .bind(now)
            .bind(replica.id.0)
            .bind(replica.token.0)
            .execute(&mut *transaction)
            .await?;
        let turn = self.quantum.turn_at(now);
        let serves = match server_of(&mut transaction, turn).await? {
            Some(replica) => Some(replica),
            None => begin_turn(&mut transaction, turn, now).await?,
        };
        transaction.commit().await?;
        Ok(Beat { now, is_registered: found.rows_affected() == 1, turn, serves })
    }

    async fn leave(&self, replica: Registration) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE replicas SET is_leaving = TRUE WHERE id = ? AND token = ?")
            .bind(replica.id.0)
            .bind(replica.token.0)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    async fn serve(
        &self,
        replica: Registration,
        turn: Turn,
        ranges: &[Range],
        (after, limit): (Option<&ClientId>, usize),
    ) -> Result<Option<(ServedBatch, Vec<Waiting>)>> {
        let mut transaction = self.pool.begin().await?;
        let at = now_ms(&mut transaction).await?;
        let Some(name) = name_of(&mut transaction, replica).await? else { return Ok(None) };
        if self.quantum.turn_at(at) != turn || server_of(&mut transaction, turn).await? != Some(replica) {
            return Ok(None);
        }
        let mut served = Vec::new();
        for range in ranges {
            if serve_range(&mut transaction, range, &name, turn, at).await? {
                served.push(range.clone());
            }
        }
        sqlx::query("UPDATE turns SET served = served + ? WHERE turn = ?")
            .bind(served.iter().map(Range::count).sum::<i64>())
            .bind(turn.0)
            .execute(&mut *transaction)
            .await?;
        let waiting = waiting(&mut transaction, after, limit).await?;
        transaction.commit().await?;
        Ok(Some((ServedBatch { at, ranges: served }, waiting)))
    }

    async fn waiting(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Waiting>> {
        let mut connection = self.pool.reader().acquire().await?;
        waiting(&mut connection, after, limit).await
    }
}

/// The length of a turn of this database: `quantum`, unless replicas are live, or may still serve in
/// a turn, that have another one.
async fn agree(connection: &mut SqliteConnection, quantum: Quantum, now: i64) -> Result<Quantum> {
    let other: Option<i64> = sqlx::query_scalar("SELECT quantum FROM turn_length WHERE quantum <> ?")
        .bind(quantum.as_millis())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(other) = other.and_then(Quantum::from_millis) {
        let sql = "SELECT EXISTS (SELECT 1 FROM replicas WHERE heartbeat BETWEEN ? AND ?)";
        let is_used: bool = sqlx::query_scalar(sql)
            .bind(now - DEAD_AFTER_MS - other.as_millis())
            .bind(now + DEAD_AFTER_MS)
            .fetch_one(&mut *connection)
            .await?;
        if is_used {
            return Ok(other);
        }
        sqlx::query("DELETE FROM turns").execute(&mut *connection).await?;
        delete_replicas(connection, i64::MAX).await?;
    }
    sqlx::query("INSERT OR REPLACE INTO turn_length (id, quantum) VALUES (1, ?)")
        .bind(quantum.as_millis())
        .execute(connection)
        .await?;
    Ok(quantum)
}

/// Deletes the registrations whose last heartbeat was before the time `before`.
async fn delete_replicas(connection: &mut SqliteConnection, before: i64) -> Result<()> {
    sqlx::query("DELETE FROM replicas WHERE heartbeat < ?").bind(before).execute(connection).await?;
    Ok(())
}

/// The name of a replica; `None` if its registration is lost.
async fn name_of(connection: &mut SqliteConnection, replica: Registration) -> Result<Option<String>> {
    let sql = "SELECT name FROM replicas WHERE id = ? AND token = ?";
    Ok(sqlx::query_scalar(sql).bind(replica.id.0).bind(replica.token.0).fetch_optional(connection).await?)
}

/// The replica that serves in `turn`; `None` if the turn is not recorded.
async fn server_of(connection: &mut SqliteConnection, turn: Turn) -> Result<Option<Registration>> {
    let sql = format!("SELECT {} FROM turns WHERE turn = ?", rows::TURN);
    let row = sqlx::query(AssertSqlSafe(sql)).bind(turn.0).fetch_optional(connection).await?;
    Ok(row.as_ref().map(rows::turn).transpose()?.as_ref().map(TurnRow::registration))
}

/// Records which replica serves in `turn`; `None` if there is no live replica.
async fn begin_turn(connection: &mut SqliteConnection, turn: Turn, now: i64) -> Result<Option<Registration>> {
    let sql = format!("SELECT {} FROM replicas ORDER BY id", rows::REPLICA);
    let replicas = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
    let replicas: Vec<ReplicaRow> = replicas.iter().map(rows::replica).collect::<Result<_>>()?;
    let live: Vec<ReplicaId> = replicas.iter().filter(|row| is_live(row, now)).map(|row| row.id).collect();
    let serves = replica_of(turn, &live);
    let Some(row) = replicas.into_iter().find(|row| Some(row.id) == serves) else { return Ok(None) };
    sqlx::query("INSERT INTO turns (turn, replica, token, name) VALUES (?, ?, ?, ?)")
        .bind(turn.0)
        .bind(row.id.0)
        .bind(row.token.0)
        .bind(row.name)
        .execute(connection)
        .await?;
    Ok(Some(Registration { id: row.id, token: row.token }))
}

/// Marks the messages of `range` as served, unless it does not begin at the client's next counter or
/// is not stored as a whole. Returns whether it did.
async fn serve_range(
    connection: &mut SqliteConnection,
    range: &Range,
    replica: &str,
    turn: Turn,
    at: i64,
) -> Result<bool> {
    let Some(mut client) = client(connection, &range.client).await? else { return Ok(false) };
    if client.next != range.first || range.last < range.first || range.last >= client.missing {
        return Ok(false);
    }
    client.next = range.last + 1;
    update_client(connection, &client, at).await?;
    for part in rows::blocks(range) {
        sqlx::query(
            "INSERT OR REPLACE INTO served_ranges (client_id, block, first_counter, last_counter, turn, replica, \
             served_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(part.client.as_str())
        .bind(part.first / rows::BLOCK)
        .bind(part.first)
        .bind(part.last)
        .bind(turn.0)
        .bind(replica)
        .bind(at)
        .execute(&mut *connection)
        .await?;
    }
    Ok(true)
}
