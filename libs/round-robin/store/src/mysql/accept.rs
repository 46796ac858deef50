//! Storing messages.
//!
//! A part of a batch is one transaction. It stores all messages if every client of the part is
//! *plain*, which is nearly always so: their connections are the latest ones, no counter is refused,
//! and no message above the first missing one is stored already. Then one statement inserts all
//! messages, and one sets the new position of every client. Otherwise the transaction changes
//! nothing and returns the clients that are not plain. The store then decides which of their requests
//! are refused, and sends the others again, with a statement for each client whose first missing
//! counter has to be searched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use kit_database::Result;
use kit_database::mysql::Answer;
use round_robin_core::tables::{Accepted, Request};
use round_robin_core::types::{ClientId, ClientRow, MessageRow, WINDOW};
use sqlx::Row;

use super::{MySqlStore, NOW, TIMEOUT, answer, last, list, literal, lock_clients_sql, only_row, unexpected};
use crate::parts::{Group, Sent, groups, split};
use crate::{json, rows};

impl MySqlStore {
    pub(super) async fn accept_in_parts(&self, requests: &[Request]) -> Result<Vec<Accepted>> {
        let mut accepted: Vec<(usize, Accepted)> = Vec::with_capacity(requests.len());
        for part in split(requests, self.accept.longest().await?) {
            self.accept_part(part, &mut accepted).await?;
        }
        accepted.sort_unstable_by_key(|(index, _)| *index);
        Ok(accepted.into_iter().map(|(_, accepted)| accepted).collect())
    }

    /// Stores the messages of a part, and adds the result for each request.
    async fn accept_part(&self, mut part: Vec<Sent<'_>>, accepted: &mut Vec<(usize, Accepted)>) -> Result<()> {
        let mut searched = BTreeSet::new();
        while !part.is_empty() {
            let groups = groups(&part);
            let answers = self.accept.run(&script(&part, &groups, &searched), TIMEOUT).await?;
            let Reply { now, unplain, are_known } = read(&answers, &part, &groups)?;
            if unplain.is_empty() {
                let known = if are_known { self.stored(&part).await? } else { Known::new() };
                accepted.extend(part.into_iter().map(|sent| (sent.index, result(sent.request, now, &known))));
                return Ok(());
            }
            let before = (part.len(), searched.len());
            searched.extend(unplain.values().filter(|row| has_gap(row)).map(|row| row.id.clone()));
            part.retain(|sent| match unplain.get(&sent.request.client).and_then(|row| refusal(sent.request, row)) {
                Some(refusal) => {
                    accepted.push((sent.index, refusal));
                    false
                }
                None => true,
            });
            if before == (part.len(), searched.len()) {
                return Err(unexpected("a client that is not plain"));
            }
        }
        Ok(())
    }

    /// Reads those messages of a part that are stored.
    async fn stored(&self, part: &[Sent<'_>]) -> Result<Known> {
        let counters = json::rows(part.iter().map(|sent| {
            let Request { client, counter, .. } = sent.request;
            format!("[{},{counter}]", json::string(client.as_str()))
        }));
        let sql = format!(
            "SELECT messages.* FROM JSON_TABLE({counters}, '$[*]' COLUMNS (\
                 client_id VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[0]', counter BIGINT PATH '$[1]')) AS sent \
             STRAIGHT_JOIN messages ON messages.client_id = sent.client_id AND messages.counter = sent.counter"
        );
        let mut known = Known::new();
        for row in &answer(&self.accept.run(&sql, TIMEOUT).await?, 0)?.rows {
            let message = rows::message(row)?;
            known.insert((message.client.clone(), message.counter), message);
        }
        Ok(known)
    }
}

/// Messages that are stored.
type Known = HashMap<(ClientId, i64), MessageRow>;

/// The result of a script.
struct Reply {
    /// The database's clock.
    now: i64,
    /// If nothing was changed because a client is not plain, all clients of the part.
    unplain: HashMap<ClientId, ClientRow>,
    /// Whether some of the messages may have been stored before.
    are_known: bool,
}

/// Index of the answer with the rows of clients; none if all are plain.
const CLIENTS: usize = 4;

/// Index of the answer to the statement that inserts messages.
const INSERT: usize = 5;

fn read(answers: &[Answer], part: &[Sent<'_>], groups: &Groups<'_>) -> Result<Reply> {
    let row = only_row(last(answers)?)?;
    let (now, known): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let mut clients = HashMap::new();
    for row in &answer(answers, CLIENTS)?.rows {
        let row = rows::client(row)?;
        clients.insert(row.id.clone(), row);
    }
    let counters: i64 = groups.values().map(|group| group.counters).sum();
    let is_repeated = usize::try_from(counters) != Ok(part.len());
    Ok(Reply { now, unplain: clients, are_known: known > 0 || is_repeated || answer(answers, INSERT)?.insert_id > 0 })
}

type Groups<'a> = BTreeMap<&'a ClientId, Group>;

/// Groups as rows of a statement.
const GROUPS: &str = "JSON_TABLE(@clients, '$[*]' COLUMNS (\
    client_id VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[0]', epoch BIGINT PATH '$[1]', \
    first_counter BIGINT PATH '$[2]', last_counter BIGINT PATH '$[3]', is_searched INT PATH '$[4]')) AS sent";

/// The transaction that stores a part. It searches the first missing counter of the clients
/// `searched`.
fn script(part: &[Sent<'_>], groups: &Groups<'_>, searched: &BTreeSet<ClientId>) -> String {
    let is_searched = |client: &ClientId, group: &Group| !group.is_one_run() || searched.contains(client);
    let rows = groups.iter().map(|(client, group)| {
        let epoch = group.epoch.map_or_else(|| "null".to_owned(), |epoch| epoch.0.to_string());
        let (client_id, is_searched) = (json::string(client.as_str()), i32::from(is_searched(client, group)));
        format!("[{client_id},{epoch},{},{},{is_searched}]", group.first, group.last)
    });
    let mut sql = format!(
        "SET @now = {NOW}, @clients = {clients}; BEGIN; {lock}; {check}; \
         SELECT {columns} FROM clients FORCE INDEX (PRIMARY) WHERE @unplain > 0 AND client_id IN ({list}); \
         {insert}; {advance}",
        clients = json::rows(rows),
        lock = lock_clients_sql(groups.keys().copied()),
        check = check_sql(),
        columns = rows::CLIENT,
        list = list(groups.keys().copied()),
        insert = insert_sql(part),
        advance = advance_sql(),
    );
    let zeros = groups.iter().filter(|(_, group)| group.first == 0).map(|(client, _)| *client);
    let zeros = list(zeros);
    if zeros != "NULL" {
        let _ = write!(
            sql,
            "; UPDATE clients FORCE INDEX (PRIMARY) SET first_kept = 0, next_to_serve = 0 \
             WHERE client_id IN ({zeros}) AND first_kept = next_to_serve AND @unplain = 0"
        );
    }
    for (client, _) in groups.iter().filter(|(client, group)| is_searched(client, group)) {
        let _ = write!(sql, "; {}", search_sql(client));
    }
    sql + "; COMMIT; SELECT @now, CAST(@known AS SIGNED)"
}

/// Counts the clients that are not plain, and those of which a message may be stored already.
fn check_sql() -> String {
    format!(
        "SELECT COALESCE(SUM(NOT ((sent.epoch IS NULL OR sent.epoch = clients.epoch) \
                 AND sent.last_counter <= clients.first_missing + {WINDOW} \
                 AND (sent.first_counter >= clients.first_kept \
                      OR (sent.first_counter = 0 AND clients.first_kept = clients.next_to_serve)) \
                 AND (sent.is_searched = 1 OR clients.last_received < clients.first_missing))), 0), \
             COALESCE(SUM(sent.first_counter <= clients.last_received), 0) INTO @unplain, @known \
         FROM {GROUPS} STRAIGHT_JOIN clients ON clients.client_id = sent.client_id"
    )
}

/// Inserts the messages. Those that are stored already stay as they are; the answer then has an
/// insert id.
fn insert_sql(part: &[Sent<'_>]) -> String {
    format!(
        "INSERT INTO received_messages (client_id, counter, message, received_at) \
         SELECT sent.client_id, sent.counter, sent.message, @now \
         FROM JSON_TABLE({messages}, '$[*]' COLUMNS (\
             client_id VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[0]', counter BIGINT PATH '$[1]', \
             message MEDIUMTEXT CHARACTER SET utf8mb4 PATH '$[2]')) AS sent \
         WHERE @unplain = 0 \
         ON DUPLICATE KEY UPDATE counter = IF(LAST_INSERT_ID(1), received_messages.counter, received_messages.counter)",
        messages = json::rows(part.iter().map(|sent| &sent.json)),
    )
}

/// Sets the positions of the clients. The first missing counter of those that are not searched is the
/// one after their last message, if it was among their messages.
fn advance_sql() -> String {
    format!(
        "UPDATE {GROUPS} STRAIGHT_JOIN clients ON clients.client_id = sent.client_id \
         SET clients.last_received = GREATEST(clients.last_received, sent.last_counter), \
             clients.first_missing = IF(sent.is_searched = 0 \
                 AND clients.first_missing BETWEEN sent.first_counter AND sent.last_counter, \
                 sent.last_counter + 1, clients.first_missing) \
         WHERE @unplain = 0"
    )
}

/// Searches the first missing counter of a client, from the present one on.
fn search_sql(client: &ClientId) -> String {
    let client = literal(client);
    format!(
        "SELECT first_missing INTO @missing FROM clients WHERE client_id = {client}; \
         UPDATE clients SET first_missing = \
             (SELECT stored.counter + 1 FROM received_messages AS stored \
              WHERE stored.client_id = {client} AND stored.counter >= @missing AND NOT EXISTS \
                  (SELECT 1 FROM received_messages AS following \
                   WHERE following.client_id = stored.client_id AND following.counter = stored.counter + 1) \
              ORDER BY stored.counter LIMIT 1) \
         WHERE client_id = {client} AND @unplain = 0 AND EXISTS \
             (SELECT 1 FROM received_messages WHERE client_id = {client} AND counter = @missing)"
    )
}

/// Whether messages above the first missing one are stored.
const fn has_gap(client: &ClientRow) -> bool {
    client.last_received >= client.missing
}

/// Why a message is not stored; `None` if it is.
fn refusal(request: &Request, client: &ClientRow) -> Option<Accepted> {
    if request.epoch.is_some_and(|epoch| epoch != client.epoch) {
        return Some(Accepted::Fenced);
    }
    if request.counter > client.missing + WINDOW {
        return Some(Accepted::TooFar { expected: client.missing });
    }
    let is_first = request.counter == 0 && client.is_new();
    (request.counter < client.kept && !is_first).then_some(Accepted::Gone { kept: client.kept })
}

/// The result of storing a message that was not refused.
fn result(request: &Request, now: i64, known: &Known) -> Accepted {
    match known.get(&(request.client.clone(), request.counter)) {
        Some(stored) if stored.message == request.message => Accepted::Stored(stored.clone()),
        Some(_) => Accepted::Conflict,
        None => Accepted::Stored(MessageRow {
            client: request.client.clone(),
            counter: request.counter,
            message: request.message.clone(),
            received_at: now,
            served: None,
        }),
    }
}
