//! Operations for clients.

use async_trait::async_trait;
use kit_database::Result;
use round_robin_core::tables::{Accepted, Connected, Hello, Request};
use round_robin_core::types::{ClientId, ClientRow, Epoch, MessageRow, Range, WINDOW};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{SqliteStore, client, client_or_new, now_ms, update_client};
use crate::rows::{self, BLOCK};
use crate::{Answer, IntakeStore, connected};

#[async_trait]
impl IntakeStore for SqliteStore {
    async fn accept(&self, requests: &[Request]) -> Result<Vec<Accepted>> {
        let mut transaction = self.pool.begin().await?;
        let now = now_ms(&mut transaction).await?;
        let mut accepted = Vec::with_capacity(requests.len());
        for request in requests {
            accepted.push(accept(&mut transaction, request, now).await?);
        }
        transaction.commit().await?;
        Ok(accepted)
    }

    async fn connect(&self, hello: &Hello) -> Result<Connected> {
        let mut transaction = self.pool.begin().await?;
        let now = now_ms(&mut transaction).await?;
        let connected = connected(client_or_new(&mut transaction, &hello.client, now).await?, hello);
        update_client(&mut transaction, &connected.client, now).await?;
        transaction.commit().await?;
        Ok(connected)
    }

    async fn acknowledge(&self, answers: &[(ClientId, Epoch, i64)]) -> Result<Vec<bool>> {
        let mut transaction = self.pool.begin().await?;
        let mut are_latest = Vec::with_capacity(answers.len());
        for (client, epoch, counter) in answers {
            let found = sqlx::query(
                "UPDATE clients SET acknowledged = CASE WHEN first_kept < next_to_serve \
                 THEN MAX(acknowledged, MIN(?, next_to_serve - 1)) ELSE acknowledged END \
                 WHERE client_id = ? AND epoch = ?",
            )
            .bind(counter)
            .bind(client.as_str())
            .bind(epoch.0)
            .execute(&mut *transaction)
            .await?;
            are_latest.push(found.rows_affected() == 1);
        }
        transaction.commit().await?;
        Ok(are_latest)
    }

    async fn progress(&self, clients: &[ClientId]) -> Result<Vec<ClientRow>> {
        let mut transaction = self.pool.snapshot().await?;
        let mut found = Vec::with_capacity(clients.len());
        for id in clients {
            found.extend(client(&mut transaction, id).await?);
        }
        Ok(found)
    }

    async fn answers(&self, ranges: &[Range]) -> Result<Vec<Answer>> {
        let mut transaction = self.pool.snapshot().await?;
        let mut answers = Vec::new();
        for range in ranges {
            let Some(client) = client(&mut transaction, &range.client).await? else { continue };
            let sql = format!(
                "SELECT {} FROM served_ranges WHERE client_id = ?1 AND block BETWEEN ?2 / {BLOCK} AND ?3 / {BLOCK} \
                 AND last_counter >= ?2 AND first_counter <= ?3 ORDER BY first_counter",
                rows::SERVED
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(range.client.as_str()).bind(range.first).bind(range.last);
            for row in query.fetch_all(&mut *transaction).await? {
                answers.extend(rows::served(&row)?.answers(range, client.kept));
            }
        }
        Ok(answers)
    }

    async fn above(&self, client: &ClientId, counter: i64) -> Result<Vec<i64>> {
        let sql = "SELECT counter FROM received_messages WHERE client_id = ? AND counter > ? ORDER BY counter LIMIT ?";
        let query = sqlx::query_scalar(sql).bind(client.as_str()).bind(counter).bind(WINDOW);
        Ok(query.fetch_all(self.pool.reader()).await?)
    }
}

/// Stores a message, unless it is stored already.
async fn accept(connection: &mut SqliteConnection, request: &Request, now: i64) -> Result<Accepted> {
    let mut client = client_or_new(connection, &request.client, now).await?;
    if request.epoch.is_some_and(|epoch| epoch != client.epoch) {
        return Ok(Accepted::Fenced);
    }
    if let Some(stored) = stored(connection, &request.client, request.counter).await? {
        if request.counter == client.missing {
            // The row of the client was lost, and its messages were not.
            advance(connection, &mut client, request.counter, now).await?;
        }
        let is_same = stored.message == request.message;
        return Ok(if is_same { Accepted::Stored(stored) } else { Accepted::Conflict });
    }
    if request.counter > client.missing + WINDOW {
        return Ok(Accepted::TooFar { expected: client.missing });
    }
    if request.counter == 0 && client.is_new() {
        (client.kept, client.next) = (0, 0);
    } else if request.counter < client.kept {
        return Ok(Accepted::Gone { kept: client.kept });
    }
    sqlx::query("INSERT INTO received_messages (client_id, counter, message, received_at) VALUES (?, ?, ?, ?)")
        .bind(request.client.as_str())
        .bind(request.counter)
        .bind(&request.message)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    advance(connection, &mut client, request.counter, now).await?;
    Ok(Accepted::Stored(MessageRow {
        client: client.id,
        counter: request.counter,
        message: request.message.clone(),
        received_at: now,
        served: None,
    }))
}

/// Sets the position of a client of which the message `counter` is stored.
async fn advance(connection: &mut SqliteConnection, client: &mut ClientRow, counter: i64, now: i64) -> Result<()> {
    client.last_received = client.last_received.max(counter);
    if counter == client.missing {
        client.missing = first_missing(connection, client).await?;
    }
    update_client(connection, client, now).await
}

/// Reads a message.
async fn stored(connection: &mut SqliteConnection, client: &ClientId, counter: i64) -> Result<Option<MessageRow>> {
    let sql = format!("SELECT {} FROM messages WHERE client_id = ? AND counter = ?", rows::MESSAGE);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(client.as_str()).bind(counter);
    query.fetch_optional(connection).await?.as_ref().map(rows::message).transpose()
}

/// The first counter that is missing after the message `client.missing` was stored.
async fn first_missing(connection: &mut SqliteConnection, client: &ClientRow) -> Result<i64> {
    if client.missing == client.last_received {
        return Ok(client.missing + 1);
    }
    let sql = "SELECT counter + 1 FROM received_messages AS message \
               WHERE client_id = ?1 AND counter >= ?2 AND NOT EXISTS \
               (SELECT 1 FROM received_messages WHERE client_id = ?1 AND counter = message.counter + 1) \
               ORDER BY counter LIMIT 1";
    Ok(sqlx::query_scalar(sql).bind(client.id.as_str()).bind(client.missing).fetch_one(connection).await?)
}
