//! Storing messages.
//!
//! A part of a batch is one transaction. It inserts all messages, then locks the clients, and commits
//! if every client is *plain*, which is nearly always so: it is known, its connection is the latest
//! one, no counter is refused, and no message above the first missing one was stored before. Then one
//! statement sets the new position of every client. Otherwise the transaction is rolled back: the
//! store looks at the clients, decides which requests are refused, and runs the transaction again
//! with the others, and with statements for the clients that are not plain.
//!
//! Clients are locked last, because a replica that serves waits for these locks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::atomic::Ordering;

use kit_database::mysql::{Answer, text};
use kit_database::{Error, Result};
use round_robin_core::tables::{Accepted, Request};
use round_robin_core::types::{ClientId, ClientRow, MessageRow, WINDOW};
use sqlx::Row;

use super::{
    FOR_UPDATE, MySqlStore, NOW, TIMEOUT, answer, insert_clients_sql, last, list, literal, only_row, seen_sql,
};
use crate::parts::{Group, Sent, groups, split};
use crate::{json, rows};

/// Number of attempts to store a part. Each one fails only if the clients changed after the look at
/// them.
const ATTEMPTS: usize = 10;

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
        // In the order of their keys, rows are inserted at the least cost, and all transactions lock
        // them in the same order. The first of several requests for one message stays the first.
        part.sort_by(|a, b| a.key().cmp(&b.key()));
        let mut unusual = Unusual::default();
        if self.is_unusual.load(Ordering::Relaxed) {
            let count = part.len();
            unusual = self.look(&mut part, accepted).await?;
            self.is_unusual.store(unusual != Unusual::default() || part.len() < count, Ordering::Relaxed);
        }
        for _ in 0..ATTEMPTS {
            if part.is_empty() {
                return Ok(());
            }
            let groups = groups(&part);
            let answers = self.accept.run(&script(&part, &groups, &unusual), TIMEOUT).await?;
            if let Some(stored) = read(&answers, &part, &groups)? {
                let known = if stored.are_known { self.stored(&part).await? } else { Known::new() };
                accepted.extend(part.iter().map(|sent| (sent.index, result(sent.request, stored.now, &known))));
                return Ok(());
            }
            self.is_unusual.store(true, Ordering::Relaxed);
            unusual = self.look(&mut part, accepted).await?;
        }
        if part.is_empty() { Ok(()) } else { Err(Error::Conflict(changed())) }
    }

    /// Looks at the clients of a part. Removes the requests that are refused, adds their results, and
    /// returns the clients that are not plain.
    async fn look(&self, part: &mut Vec<Sent<'_>>, accepted: &mut Vec<(usize, Accepted)>) -> Result<Unusual> {
        let sql = format!(
            "SELECT {} FROM clients FORCE INDEX (PRIMARY) WHERE client_id IN ({})",
            rows::CLIENT,
            list(part.iter().map(|sent| &sent.request.client))
        );
        let mut clients = HashMap::new();
        for row in &answer(&self.accept.run(&sql, TIMEOUT).await?, 0)?.rows {
            let row = rows::client(row)?;
            clients.insert(row.id.clone(), row);
        }
        let mut refused = BTreeSet::new();
        part.retain(|sent| {
            let client = &sent.request.client;
            let refusal = match clients.get(client) {
                Some(row) => refusal(sent.request, row),
                None => refusal(sent.request, &ClientRow::new(client.clone())),
            };
            let Some(refusal) = refusal else { return true };
            accepted.push((sent.index, refusal));
            refused.insert(client);
            false
        });
        let is_new = |client: &ClientId| !clients.contains_key(client);
        self.insert_clients(refused.into_iter().filter(|client| is_new(client)).collect()).await?;
        let is_new = part.iter().any(|sent| is_new(&sent.request.client));
        let with_gaps = clients.into_values().filter(has_gap).map(|row| row.id).collect();
        Ok(Unusual { with_gaps, is_new })
    }

    /// Inserts the rows of clients of which all messages may have been refused.
    async fn insert_clients(&self, clients: BTreeSet<&ClientId>) -> Result<()> {
        if clients.is_empty() {
            return Ok(());
        }
        let sql = format!("SET @now = {NOW}; {}", insert_clients_sql(clients));
        self.accept.run(&sql, TIMEOUT).await.map(drop)
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

/// Why a part was not stored, although nothing speaks against it.
fn changed() -> sqlx::Error {
    sqlx::Error::Protocol("the clients changed before each attempt to store their messages".to_owned())
}

/// Messages that are stored.
type Known = HashMap<(ClientId, i64), MessageRow>;

/// What is known of the clients of a part that are not plain.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unusual {
    /// Clients that have messages above the first missing one. It has to be searched.
    with_gaps: BTreeSet<ClientId>,
    /// Whether some clients have no row yet.
    is_new: bool,
}

/// The result of a transaction that stored the messages.
struct Stored {
    /// The database's clock.
    now: i64,
    /// Whether some of the messages may have been stored before.
    are_known: bool,
}

/// Index of the answer to the statement that inserts messages.
const INSERT: usize = 2;

/// Reads the result of a script; `None` if it was rolled back.
fn read(answers: &[Answer], part: &[Sent<'_>], groups: &Groups<'_>) -> Result<Option<Stored>> {
    let row = only_row(last(answers)?)?;
    let (is_stored, now, known): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if is_stored == 0 {
        return Ok(None);
    }
    let counters: i64 = groups.values().map(|group| group.counters).sum();
    let is_repeated = usize::try_from(counters) != Ok(part.len());
    let are_known = known > 0 || is_repeated || answer(answers, INSERT)?.insert_id > 0;
    Ok(Some(Stored { now, are_known }))
}

type Groups<'a> = BTreeMap<&'a ClientId, Group>;

/// Groups as rows of a statement.
const GROUPS: &str = "JSON_TABLE(@clients, '$[*]' COLUMNS (\
    client_id VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[0]', epoch BIGINT PATH '$[1]', \
    first_counter BIGINT PATH '$[2]', last_counter BIGINT PATH '$[3]', is_searched INT PATH '$[4]')) AS sent \
    STRAIGHT_JOIN clients FORCE INDEX (PRIMARY) ON clients.client_id = sent.client_id";

/// The transaction that stores a part.
fn script(part: &[Sent<'_>], groups: &Groups<'_>, unusual: &Unusual) -> String {
    let is_searched = |client: &ClientId, group: &Group| !group.is_one_run() || unusual.with_gaps.contains(client);
    let rows = groups.iter().map(|(client, group)| {
        let epoch = group.epoch.map_or_else(|| "null".to_owned(), |epoch| epoch.0.to_string());
        let (client_id, is_searched) = (json::string(client.as_str()), i32::from(is_searched(client, group)));
        format!("[{client_id},{epoch},{},{},{is_searched}]", group.first, group.last)
    });
    let mut sql = format!("SET @now = {NOW}, @clients = {}; BEGIN; ", json::rows(rows));
    insert_sql(&mut sql, part);
    if unusual.is_new {
        sql += "; ";
        sql += &insert_clients_sql(groups.keys().copied());
    }
    let _ = write!(sql, "; {}; {}", check_sql(groups.len()), advance_sql());
    if groups.values().any(|group| group.first == 0) {
        sql += "; ";
        sql += &begin_with_zero_sql();
    }
    for (client, _) in groups.iter().filter(|(client, group)| is_searched(client, group)) {
        let _ = write!(sql, "; {}", search_sql(client));
    }
    sql + "; SET @end = IF(@is_stored = 1, 'COMMIT', 'ROLLBACK'); PREPARE ending FROM @end; EXECUTE ending; \
           DEALLOCATE PREPARE ending; SELECT CAST(@is_stored AS SIGNED), @now, CAST(@known AS SIGNED)"
}

/// Inserts the messages. Those that are stored already stay as they are; the answer then has an
/// insert id.
fn insert_sql(sql: &mut String, part: &[Sent<'_>]) {
    *sql += "INSERT INTO received_messages (client_id, counter, message, received_at) VALUES ";
    for (index, Sent { request, .. }) in part.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let (client, message) = (literal(&request.client), text(&request.message));
        let _ = write!(sql, "{comma}({client},{},{message},@now)", request.counter);
    }
    *sql += " ON DUPLICATE KEY UPDATE \
             counter = IF(LAST_INSERT_ID(1), received_messages.counter, received_messages.counter)";
}

/// Locks the clients, and finds out whether all are plain, and of how many a message may have been
/// stored before.
fn check_sql(clients: usize) -> String {
    format!(
        "SELECT COUNT(*) = {clients} AND SUM(\
             (sent.epoch IS NULL OR sent.epoch = clients.epoch) \
             AND sent.last_counter <= clients.first_missing + {WINDOW} \
             AND (sent.first_counter >= clients.first_kept \
                  OR (sent.first_counter = 0 AND clients.first_kept = clients.next_to_serve)) \
             AND (sent.is_searched = 1 OR clients.last_received < clients.first_missing)) = {clients}, \
         COALESCE(SUM(sent.first_counter <= clients.last_received), 0) INTO @is_stored, @known \
         FROM {GROUPS} {FOR_UPDATE}"
    )
}

/// Sets the positions of the clients. The first missing counter of those that are not searched is the
/// one after their last message, if it was among their messages.
fn advance_sql() -> String {
    format!(
        "UPDATE {GROUPS} \
         SET clients.last_received = GREATEST(clients.last_received, sent.last_counter), \
             clients.first_missing = IF(sent.is_searched = 0 \
                 AND clients.first_missing BETWEEN sent.first_counter AND sent.last_counter, \
                 sent.last_counter + 1, clients.first_missing), \
             clients.seen_at = {seen} \
         WHERE @is_stored = 1",
        seen = seen_sql()
    )
}

/// Lets those clients begin with the message 0 that sent it before anything was served.
fn begin_with_zero_sql() -> String {
    format!(
        "UPDATE {GROUPS} SET clients.first_kept = 0, clients.next_to_serve = 0 \
         WHERE sent.first_counter = 0 AND clients.first_kept = clients.next_to_serve AND @is_stored = 1"
    )
}

/// Searches the first missing counter of a client, from the present one on. Only a `SELECT … INTO` reads
/// messages without locks.
fn search_sql(client: &ClientId) -> String {
    let client = literal(client);
    format!(
        "SELECT MAX(first_missing) INTO @present FROM clients WHERE client_id = {client}; \
         SELECT IF(EXISTS (SELECT 1 FROM received_messages WHERE client_id = {client} AND counter = @present), \
             (SELECT received.counter + 1 FROM received_messages AS received \
              WHERE received.client_id = {client} AND received.counter >= @present AND NOT EXISTS \
                  (SELECT 1 FROM received_messages AS following \
                   WHERE following.client_id = received.client_id AND following.counter = received.counter + 1) \
              ORDER BY received.counter LIMIT 1), @present) INTO @missing; \
         UPDATE clients SET first_missing = @missing WHERE client_id = {client} AND @is_stored = 1"
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
