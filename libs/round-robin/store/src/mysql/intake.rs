//! Operations for clients.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use kit_database::Result;
use round_robin_core::tables::{Accepted, Connected, Hello, Request};
use round_robin_core::types::{ClientId, ClientRow, Epoch, Range, WINDOW};
use sqlx::Row;

use super::{FOR_UPDATE, MySqlStore, NOW, answer, insert_clients_sql, list, literal, only_row, seen_sql};
use crate::rows::{self, BLOCK};
use crate::{Answer, IntakeStore, connected, json};

/// Most clients or ranges in one script, which bounds the length of a packet.
const CHUNK: usize = 500;

#[async_trait]
impl IntakeStore for MySqlStore {
    async fn accept(&self, requests: &[Request]) -> Result<Vec<Accepted>> {
        self.accept_in_parts(requests).await
    }

    async fn connect(&self, hello: &Hello) -> Result<Connected> {
        let client = literal(&hello.client);
        let sql = format!(
            "SET @now = {NOW}; BEGIN; {lock}; \
             SELECT {columns} FROM clients WHERE client_id = {client}; \
             UPDATE clients SET epoch = GREATEST(epoch, {epoch}) + 1, seen_at = {seen} WHERE client_id = {client}; \
             COMMIT",
            lock = insert_clients_sql([&hello.client]),
            columns = rows::CLIENT,
            epoch = hello.epoch.unwrap_or_default().0,
            seen = seen_sql(),
        );
        let answers = self.ask(&sql).await?;
        Ok(connected(rows::client(only_row(answer(&answers, 3)?)?)?, hello))
    }

    async fn acknowledge(&self, answers: &[(ClientId, Epoch, i64)]) -> Result<Vec<bool>> {
        let mut are_latest = Vec::with_capacity(answers.len());
        for answers in answers.chunks(CHUNK) {
            let found = self.ask(&acknowledge_sql(answers)).await?;
            let mut epochs = HashMap::new();
            for row in &answer(&found, CLIENTS)?.rows {
                let row = rows::client(row)?;
                epochs.insert(row.id, row.epoch);
            }
            are_latest.extend(answers.iter().map(|(client, epoch, _)| epochs.get(client) == Some(epoch)));
        }
        Ok(are_latest)
    }

    async fn progress(&self, clients: &[ClientId]) -> Result<Vec<ClientRow>> {
        let mut found = Vec::with_capacity(clients.len());
        for clients in clients.chunks(CHUNK) {
            let sql = format!(
                "SELECT {} FROM clients FORCE INDEX (PRIMARY) WHERE client_id IN ({})",
                rows::CLIENT,
                list(clients)
            );
            for row in &answer(&self.ask(&sql).await?, 0)?.rows {
                found.push(rows::client(row)?);
            }
        }
        Ok(found)
    }

    async fn answers(&self, ranges: &[Range]) -> Result<Vec<Answer>> {
        let mut found = Vec::new();
        for ranges in ranges.chunks(CHUNK) {
            let sql: Vec<String> = ranges.iter().map(answers_sql).collect();
            let answers = self.ask(&sql.join("; ")).await?;
            for (index, range) in ranges.iter().enumerate() {
                for row in &answer(&answers, index)?.rows {
                    let first_kept = row.try_get("first_kept")?;
                    found.extend(rows::served(row)?.answers(range, first_kept));
                }
            }
        }
        Ok(found)
    }

    async fn above(&self, client: &ClientId, counter: i64) -> Result<Vec<i64>> {
        let sql = format!(
            "SELECT counter FROM received_messages WHERE client_id = {} AND counter > {counter} \
             ORDER BY counter LIMIT {WINDOW}",
            literal(client)
        );
        answer(&self.ask(&sql).await?, 0)?.rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

/// Index of the answer with the rows of clients.
const CLIENTS: usize = 2;

/// What clients acknowledged as rows of a statement.
const ACKNOWLEDGED: &str = "JSON_TABLE(@acknowledged, '$[*]' COLUMNS (\
    client_id VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[0]', epoch BIGINT PATH '$[1]', \
    counter BIGINT PATH '$[2]')) AS sent \
    STRAIGHT_JOIN clients FORCE INDEX (PRIMARY) ON clients.client_id = sent.client_id";

/// Locks and reads the rows of clients, and records what they acknowledged.
fn acknowledge_sql(answers: &[(ClientId, Epoch, i64)]) -> String {
    let mut acknowledged: BTreeMap<(&ClientId, Epoch), i64> = BTreeMap::new();
    for (client, epoch, counter) in answers {
        let latest = acknowledged.entry((client, *epoch)).or_insert(*counter);
        *latest = (*latest).max(*counter);
    }
    let rows = acknowledged
        .iter()
        .map(|((client, epoch), counter)| format!("[{},{},{counter}]", json::string(client.as_str()), epoch.0));
    format!(
        "SET @acknowledged = {rows}; BEGIN; \
         SELECT clients.* FROM {ACKNOWLEDGED} {FOR_UPDATE}; \
         UPDATE {ACKNOWLEDGED} \
         SET clients.acknowledged = GREATEST(clients.acknowledged, LEAST(sent.counter, clients.next_to_serve - 1)) \
         WHERE clients.epoch = sent.epoch AND clients.first_kept < clients.next_to_serve; \
         COMMIT",
        rows = json::rows(rows),
    )
}

fn answers_sql(range: &Range) -> String {
    let client = literal(&range.client);
    let Range { first, last, .. } = range;
    format!(
        "SELECT {served}, clients.first_kept FROM served_ranges \
         STRAIGHT_JOIN clients ON clients.client_id = served_ranges.client_id \
         WHERE served_ranges.client_id = {client} AND block BETWEEN {} AND {} \
         AND last_counter >= {first} AND first_counter <= {last} ORDER BY first_counter",
        first / BLOCK,
        last / BLOCK,
        served = rows::SERVED,
    )
}
