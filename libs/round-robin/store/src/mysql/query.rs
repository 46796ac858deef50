//! Reads for the API and the page.

use std::collections::HashMap;

use async_trait::async_trait;
use kit_database::Result;
use kit_database::mysql::Answer;
use round_robin_core::tables::REPLICA_KEPT_MS;
use round_robin_core::types::{ClientId, MessageRow, Turn, TurnRow};
use sqlx::Row;

use super::{MySqlStore, NOW, answer, last, literal, only_row};
use crate::{ClientOverview, ClientStatus, Overview, Page, QueryStore, rows};

#[async_trait]
impl QueryStore for MySqlStore {
    async fn ping(&self) -> Result<()> {
        self.ask(&rows::PING.join("; ")).await.map(drop)
    }

    async fn client(&self, client: &ClientId) -> Result<Option<ClientStatus>> {
        let client = literal(client);
        let sql = format!(
            "SELECT {columns} FROM clients WHERE client_id = {client}; \
             SELECT MAX(first_missing) INTO @missing FROM clients WHERE client_id = {client}; \
             SELECT COUNT(*) FROM received_messages WHERE client_id = {client} AND counter > @missing",
            columns = rows::CLIENT,
        );
        let answers = self.ask(&sql).await?;
        let Some(row) = answer(&answers, 0)?.rows.first() else { return Ok(None) };
        Ok(Some(ClientStatus::new(rows::client(row)?, only_row(last(&answers)?)?.try_get(0)?)))
    }

    async fn message(&self, client: &ClientId, counter: i64) -> Result<Option<MessageRow>> {
        let sql = format!(
            "SELECT {} FROM messages WHERE client_id = {} AND counter = {counter}",
            rows::MESSAGE,
            literal(client)
        );
        answer(&self.ask(&sql).await?, 0)?.rows.first().map(rows::message).transpose()
    }

    async fn messages(&self, page: &Page) -> Result<Vec<MessageRow>> {
        let sql = format!(
            "SELECT {} FROM messages WHERE client_id = {} AND counter > {} ORDER BY counter LIMIT {}",
            rows::MESSAGE,
            literal(&page.client),
            page.after.unwrap_or(i64::MIN),
            page.limit
        );
        answer(&self.ask(&sql).await?, 0)?.rows.iter().map(rows::message).collect()
    }

    async fn turns(&self, before: Option<Turn>, limit: u32) -> Result<Vec<TurnRow>> {
        read_turns(answer(&self.ask(&turns_sql(before, limit)).await?, 0)?)
    }

    async fn overview(&self, turns: u32, clients: u32) -> Result<Overview> {
        let sql = format!(
            "SELECT {NOW}, COUNT(*), (SELECT CAST(COALESCE(SUM(first_missing - next_to_serve), 0) AS SIGNED) \
             FROM clients FORCE INDEX (clients_waiting) WHERE is_waiting = 1) FROM clients; \
             SELECT {replica} FROM replicas WHERE heartbeat >= {NOW} - {REPLICA_KEPT_MS} ORDER BY id; \
             {turns}; \
             SELECT {client} FROM clients ORDER BY seen_at DESC, client_id DESC LIMIT {clients}; \
             SELECT {message} FROM \
                 (SELECT client_id AS latest, next_to_serve - 1 AS last_served, first_kept < next_to_serve AS is_served \
                  FROM clients ORDER BY seen_at DESC, client_id DESC LIMIT {clients}) AS clients \
             STRAIGHT_JOIN messages ON client_id = latest AND counter = last_served WHERE is_served",
            replica = rows::REPLICA,
            turns = turns_sql(None, turns),
            client = rows::CLIENT,
            message = rows::MESSAGE,
        );
        let answers = self.ask(&sql).await?;
        let row = only_row(answer(&answers, 0)?)?;
        Ok(Overview {
            now: row.try_get(0)?,
            client_count: row.try_get(1)?,
            waiting: row.try_get(2)?,
            replicas: answer(&answers, 1)?.rows.iter().map(rows::replica).collect::<Result<_>>()?,
            turns: read_turns(answer(&answers, 2)?)?,
            clients: read_clients(answer(&answers, 3)?, answer(&answers, 4)?)?,
        })
    }
}

fn turns_sql(before: Option<Turn>, limit: u32) -> String {
    let before = before.map_or(i64::MAX, |turn| turn.0);
    format!("SELECT {} FROM turns WHERE turn < {before} ORDER BY turn DESC LIMIT {limit}", rows::TURN)
}

fn read_turns(answer: &Answer) -> Result<Vec<TurnRow>> {
    answer.rows.iter().map(rows::turn).collect()
}

fn read_clients(clients: &Answer, messages: &Answer) -> Result<Vec<ClientOverview>> {
    let mut last_served = HashMap::new();
    for row in &messages.rows {
        let message = rows::message(row)?;
        last_served.insert(message.client.clone(), message);
    }
    let client = |row| {
        let row = rows::client(row)?;
        Ok(ClientOverview { last_served: last_served.remove(&row.id), row })
    };
    clients.rows.iter().map(client).collect()
}
