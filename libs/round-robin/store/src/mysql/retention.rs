//! Deleting what is old.

use std::fmt::Write;

use async_trait::async_trait;
use kit_database::Result;
use round_robin_core::types::{ClientId, ClientRow};
use sqlx::Row;

use super::{MySqlStore, NOW, answer, literal, only_row};
use crate::retention::{Before, CLIENTS, MESSAGES, TURNS, first_kept};
use crate::rows::{self, BLOCK};
use crate::{RetentionStore, rows::ServedRange};

#[async_trait]
impl RetentionStore for MySqlStore {
    async fn delete_old_messages(&self, acknowledged_ms: i64, unacknowledged_ms: i64) -> Result<u64> {
        let now: i64 = only_row(answer(&self.ask(&format!("SELECT {NOW}")).await?, 0)?)?.try_get(0)?;
        let before = Before {
            acknowledged: now.saturating_sub(acknowledged_ms),
            unacknowledged: now.saturating_sub(unacknowledged_ms),
        };
        let (mut deleted, mut after) = (0, None);
        while deleted == 0 {
            let clients = self.candidates(before, after.as_ref()).await?;
            let served = self.served(&clients).await?;
            let old = clients.iter().zip(served).map(|(client, served)| (client, first_kept(client, &served, before)));
            let old: Vec<Old<'_>> = old.filter(|(client, kept)| *kept > client.kept).collect();
            for old in groups(&old) {
                deleted += self.delete_unlocked(old).await?;
            }
            let Some(last) = clients.into_iter().next_back() else { break };
            after = Some(last.id);
        }
        Ok(deleted)
    }

    async fn delete_old_turns(&self, age_ms: i64) -> Result<u64> {
        let sql = format!(
            "SELECT MAX(turn) INTO @latest FROM turns; \
             DELETE FROM turns WHERE turn < @latest AND turn <= ({NOW} - {age_ms} - 1) DIV {quantum} \
             ORDER BY turn LIMIT {TURNS}",
            quantum = self.quantum.as_millis(),
        );
        Ok(answer(&self.ask(&sql).await?, 1)?.affected)
    }
}

/// Number of locked clients that one transaction's worth of clients may have. More of them mean that
/// all may be locked.
const LOCK_WAITS: u32 = 3;

/// A client, and the first counter that is kept.
type Old<'a> = (&'a ClientRow, i64);

/// Clients of which at most [`MESSAGES`] messages are deleted together, or single clients.
fn groups<'a, 'b>(old: &'b [Old<'a>]) -> Vec<&'b [Old<'a>]> {
    let (mut groups, mut start, mut messages) = (Vec::new(), 0, 0);
    for (index, (client, kept)) in old.iter().enumerate() {
        messages += kept - client.kept;
        if index > start && messages > MESSAGES {
            groups.push(&old[start..index]);
            (start, messages) = (index, kept - client.kept);
        }
    }
    if start < old.len() {
        groups.push(&old[start..]);
    }
    groups
}

impl MySqlStore {
    /// Clients after the client `after` whose first message is old enough.
    async fn candidates(&self, before: Before, after: Option<&ClientId>) -> Result<Vec<ClientRow>> {
        let after = after.map_or_else(String::new, |after| format!("client_id > {} AND", literal(after)));
        let sql = format!(
            "SELECT {columns} FROM clients WHERE {after} first_kept < next_to_serve - 1 AND NOT EXISTS \
                 (SELECT 1 FROM served_ranges AS served \
                  WHERE served.client_id = clients.client_id AND served.block = clients.first_kept DIV {BLOCK} \
                  AND clients.first_kept BETWEEN served.first_counter AND served.last_counter \
                  AND served.served_at >= IF(first_kept <= acknowledged, {acknowledged}, {unacknowledged})) \
             ORDER BY client_id LIMIT {CLIENTS}",
            columns = rows::CLIENT,
            acknowledged = before.acknowledged,
            unacknowledged = before.unacknowledged,
        );
        answer(&self.ask(&sql).await?, 0)?.rows.iter().map(rows::client).collect()
    }

    /// The ranges of each client that were served, from its first message on.
    async fn served(&self, clients: &[ClientRow]) -> Result<Vec<Vec<ServedRange>>> {
        if clients.is_empty() {
            return Ok(Vec::new());
        }
        let sql = clients.iter().map(|client| {
            format!(
                "SELECT {columns} FROM served_ranges WHERE client_id = {id} AND block BETWEEN {first} AND {last} \
                 AND last_counter >= {kept} ORDER BY first_counter",
                columns = rows::SERVED,
                id = literal(&client.id),
                first = client.kept / BLOCK,
                last = (client.kept + MESSAGES) / BLOCK,
                kept = client.kept,
            )
        });
        let answers = self.ask(&sql.collect::<Vec<_>>().join("; ")).await?;
        answers.iter().map(|answer| answer.rows.iter().map(rows::served).collect()).collect()
    }

    /// Deletes as [`delete`](Self::delete) does. If another session holds rows of some clients locked,
    /// deletes for each client by itself, and leaves those clients to a later run.
    async fn delete_unlocked(&self, old: &[Old<'_>]) -> Result<u64> {
        match self.delete(old).await {
            Err(error) if error.is_lock_wait_timeout() => {}
            result => return result,
        }
        let (mut deleted, mut lock_waits) = (0, 0);
        for one in old.chunks(1) {
            match self.delete(one).await {
                Err(error) if error.is_lock_wait_timeout() && lock_waits < LOCK_WAITS => lock_waits += 1,
                result => deleted += result?,
            }
        }
        Ok(deleted)
    }

    /// Deletes the messages of clients before those that are kept, and returns their number. What was
    /// old enough stays so: counters and positions only grow.
    async fn delete(&self, old: &[Old<'_>]) -> Result<u64> {
        let mut sql = String::from("BEGIN");
        for (client, kept) in old {
            let id = literal(&client.id);
            let _ = write!(
                sql,
                "; SELECT MAX({kept}) INTO @kept FROM clients WHERE client_id = {id} AND next_to_serve > {kept}; \
                 DELETE FROM received_messages WHERE client_id = {id} AND counter < @kept; \
                 DELETE FROM served_ranges WHERE client_id = {id} AND block <= @kept DIV {BLOCK} \
                 AND last_counter < @kept"
            );
        }
        for (client, kept) in old {
            let _ = write!(
                sql,
                "; UPDATE clients SET first_kept = {kept} \
                 WHERE client_id = {id} AND first_kept < {kept} AND next_to_serve > {kept}",
                id = literal(&client.id)
            );
        }
        sql += "; COMMIT";
        let answers = self.ask(&sql).await?;
        let of_clients = answers.get(1..).unwrap_or_default().chunks_exact(3).take(old.len());
        Ok(of_clients.map(|answers| answers[1].affected).sum())
    }
}
