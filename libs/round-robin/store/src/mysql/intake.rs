//! Operations for clients.

use async_trait::async_trait;
use kit_database::Result;
use round_robin_core::tables::{Accepted, Connected, Hello, Request};
use round_robin_core::types::{ClientId, ClientRow, Epoch, Range, WINDOW};
use sqlx::Row;

use super::{MySqlStore, NOW, answer, last, list, literal, lock_clients_sql, only_row};
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
             UPDATE clients SET epoch = GREATEST(epoch, {epoch}) + 1 WHERE client_id = {client}; \
             COMMIT",
            lock = lock_clients_sql([&hello.client]),
            columns = rows::CLIENT,
            epoch = hello.epoch.unwrap_or_default().0,
        );
        let answers = self.ask(&sql).await?;
        Ok(connected(rows::client(only_row(answer(&answers, 3)?)?)?, hello))
    }

    async fn acknowledge(&self, answers: &[(ClientId, Epoch, i64)]) -> Result<Vec<bool>> {
        let mut are_latest = Vec::with_capacity(answers.len());
        for answers in answers.chunks(CHUNK) {
            let found = self.ask(&acknowledge_sql(answers)).await?;
            let mut chunk = vec![false; answers.len()];
            for row in &last(&found)?.rows {
                let place: i64 = row.try_get(0)?;
                if let Some(is_latest) = usize::try_from(place).ok().and_then(|place| chunk.get_mut(place)) {
                    *is_latest = true;
                }
            }
            are_latest.extend(chunk);
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

/// Records acknowledgements, and then reads the places of those whose connection is the latest one.
/// It locks the rows of the clients in order before it changes them.
fn acknowledge_sql(answers: &[(ClientId, Epoch, i64)]) -> String {
    let rows = answers.iter().enumerate().map(|(place, (client, epoch, counter))| {
        format!("[{place},{},{},{counter}]", json::string(client.as_str()), epoch.0)
    });
    let acknowledged = "JSON_TABLE(@acknowledged, '$[*]' COLUMNS (\
        place BIGINT PATH '$[0]', client_id VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[1]', \
        epoch BIGINT PATH '$[2]', counter BIGINT PATH '$[3]')) AS sent";
    format!(
        "SET @acknowledged = {rows}; BEGIN; \
         SELECT COUNT(*) INTO @locked FROM clients FORCE INDEX (PRIMARY) WHERE client_id IN ({list}) FOR UPDATE; \
         UPDATE (SELECT sent.client_id, sent.epoch, MAX(sent.counter) AS counter FROM {acknowledged} \
                 GROUP BY sent.client_id, sent.epoch) AS latest \
         STRAIGHT_JOIN clients ON clients.client_id = latest.client_id AND clients.epoch = latest.epoch \
         SET clients.acknowledged = \
             GREATEST(clients.acknowledged, LEAST(latest.counter, clients.next_to_serve - 1)) \
         WHERE clients.first_kept < clients.next_to_serve; \
         SELECT sent.place FROM {acknowledged} \
         STRAIGHT_JOIN clients ON clients.client_id = sent.client_id AND clients.epoch = sent.epoch; \
         COMMIT",
        rows = json::rows(rows),
        list = list(answers.iter().map(|(client, ..)| client)),
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
