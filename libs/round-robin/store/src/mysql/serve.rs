//! Marking messages as served.
//!
//! One transaction serves all ranges of a batch or none. It is nearly always all: a replica serves
//! what was listed just before, and nobody else serves in its turn. If the clients have other
//! positions, the store leaves out the ranges that do not fit, and tries again with the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use kit_database::Result;
use kit_database::mysql::Answer;
use round_robin_core::tables::{ServedBatch, Waiting};
use round_robin_core::types::{ClientId, Range, Registration, Turn};
use sqlx::Row;

use super::replica::{read_waiting, registered_sql, serves_sql};
use super::{FOR_UPDATE, MySqlStore, NOW, TIMEOUT, answer, last, list, only_row, seen_sql, unexpected};
use crate::{json, rows};

/// What can be served of each client: the next counter, and the first missing one.
type Positions = HashMap<ClientId, (i64, i64)>;

/// A batch that a replica serves in its turn.
struct Batch<'a> {
    replica: Registration,
    turn: Turn,
    /// The ranges to serve.
    ranges: Vec<Range>,
    /// A query that lists clients that wait.
    waiting: &'a str,
}

/// The result of one transaction.
struct Attempt {
    /// Whether it is the turn of the replica.
    is_turn: bool,
    /// Whether all ranges could be served.
    are_valid: bool,
    /// Whether all ranges were served.
    is_served: bool,
    /// When, in milliseconds since the Unix epoch.
    at: i64,
    waiting: Vec<Waiting>,
}

impl MySqlStore {
    /// Serves ranges, and then runs the query `waiting`.
    pub(super) async fn serve_ranges(
        &self,
        replica: Registration,
        turn: Turn,
        ranges: &[Range],
        waiting: &str,
    ) -> Result<Option<(ServedBatch, Vec<Waiting>)>> {
        let mut batch = Batch { replica, turn, ranges: ranges.to_vec(), waiting };
        let knows_obstacles = self.is_obstructed.load(Ordering::Relaxed);
        if knows_obstacles {
            batch.ranges = self.unlocked(batch.ranges).await?;
        }
        match self.serve_batch(&batch).await {
            Err(error) if error.is_lock_wait_timeout() && !knows_obstacles => {
                self.is_obstructed.store(true, Ordering::Relaxed);
                batch.ranges = self.unlocked(batch.ranges).await?;
                self.serve_batch(&batch).await
            }
            result => result,
        }
    }

    async fn serve_batch(&self, batch: &Batch<'_>) -> Result<Option<(ServedBatch, Vec<Waiting>)>> {
        let mut positions = None;
        loop {
            let ranges = fitting(&batch.ranges, positions.as_ref());
            let attempt = self.attempt(batch, &ranges).await?;
            if !attempt.is_turn || (attempt.are_valid && !attempt.is_served) {
                return Ok(None);
            }
            if attempt.are_valid {
                return Ok(Some((ServedBatch { at: attempt.at, ranges }, attempt.waiting)));
            }
            positions = Some(self.positions(&batch.ranges).await?);
        }
    }

    /// Serves all of `ranges`, or none.
    async fn attempt(&self, batch: &Batch<'_>, ranges: &[Range]) -> Result<Attempt> {
        let clients = by_client(ranges);
        let quantum = self.quantum.as_millis();
        let sql = if clients.is_empty() { look_sql(batch, quantum) } else { serve_sql(batch, &clients, quantum) };
        let answers = self.serve.run(&sql, TIMEOUT).await?;
        let [.., waiting, result] = &answers[..] else { return Err(unexpected("two answers")) };
        let row = only_row(result)?;
        let valid: i64 = row.try_get(1)?;
        Ok(Attempt {
            is_turn: row.try_get::<i64, _>(0)? == 1,
            are_valid: usize::try_from(valid) == Ok(clients.len()),
            is_served: row.try_get::<i64, _>(2)? == 1,
            at: row.try_get(3)?,
            waiting: read_waiting(waiting)?,
        })
    }

    async fn positions(&self, ranges: &[Range]) -> Result<Positions> {
        let clients = list(ranges.iter().map(|range| &range.client));
        let columns = rows::WAITING;
        let sql = format!("SELECT {columns} FROM clients FORCE INDEX (PRIMARY) WHERE client_id IN ({clients})");
        read_positions(last(&self.serve.run(&sql, TIMEOUT).await?)?)
    }

    /// Those ranges whose clients' rows no other session has locked.
    async fn unlocked(&self, ranges: Vec<Range>) -> Result<Vec<Range>> {
        if ranges.is_empty() {
            return Ok(ranges);
        }
        let clients = list(ranges.iter().map(|range| &range.client));
        let rows = format!("FROM clients FORCE INDEX (PRIMARY) WHERE client_id IN ({clients})");
        let sql = format!(
            "SELECT COUNT(*) {rows}; SELECT {columns} {rows} ORDER BY client_id LIMIT {limit} FOR UPDATE SKIP LOCKED",
            columns = rows::WAITING,
            limit = ranges.len(),
        );
        let answers = self.serve.run(&sql, TIMEOUT).await?;
        let all: i64 = only_row(answer(&answers, 0)?)?.try_get(0)?;
        let unlocked = read_positions(last(&answers)?)?;
        self.is_obstructed.store(usize::try_from(all) != Ok(unlocked.len()), Ordering::Relaxed);
        Ok(ranges.into_iter().filter(|range| unlocked.contains_key(&range.client)).collect())
    }
}

fn read_positions(answer: &Answer) -> Result<Positions> {
    let position = |Waiting { range }: Waiting| (range.client, (range.first, range.last + 1));
    answer.rows.iter().map(|row| rows::waiting(row).map(position)).collect()
}

/// Those ranges that begin at the next counter of their client and are stored as a whole, given the
/// positions of all clients. Without positions, the first range of each client fits.
fn fitting(ranges: &[Range], positions: Option<&Positions>) -> Vec<Range> {
    let mut next: HashMap<&ClientId, (i64, i64)> = HashMap::new();
    let mut fitting = Vec::with_capacity(ranges.len());
    for range in ranges {
        let known = next.get(&range.client).copied();
        let position = match (known, positions) {
            (None, None) => Some((range.first, i64::MAX)),
            (None, Some(positions)) => positions.get(&range.client).copied(),
            (known, _) => known,
        };
        let Some((first, missing)) = position else { continue };
        if first == range.first && range.first <= range.last && range.last < missing {
            next.insert(&range.client, (range.last + 1, missing));
            fitting.push(range.clone());
        }
    }
    fitting
}

/// One range for each client. Those of one client follow each other.
fn by_client(ranges: &[Range]) -> BTreeMap<&ClientId, Range> {
    let mut clients: BTreeMap<&ClientId, Range> = BTreeMap::new();
    for range in ranges {
        clients.entry(&range.client).or_insert_with(|| range.clone()).last = range.last;
    }
    clients
}

/// The ranges of all clients as rows of a statement.
const RANGES: &str = "JSON_TABLE(@ranges, '$[*]' COLUMNS (\
    client_id VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[0]', \
    first_counter BIGINT PATH '$[1]', last_counter BIGINT PATH '$[2]')) AS sent \
    STRAIGHT_JOIN clients FORCE INDEX (PRIMARY) ON clients.client_id = sent.client_id";

/// The parts of all ranges as rows of a statement.
const PARTS: &str = "JSON_TABLE(@parts, '$[*]' COLUMNS (\
    client_id VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[0]', block BIGINT PATH '$[1]', \
    first_counter BIGINT PATH '$[2]', last_counter BIGINT PATH '$[3]')) AS part";

/// The transaction that serves one range of each client.
///
/// It first locks the row of the turn, so that it commits before the row of the next turn: see
/// `beat_sql`. The statement that records what is served checks again, at its own time, that the
/// replica serves in this turn, and that the turn is not over. It records all parts or none. The
/// statements after it depend on the rows that it wrote, and not on `ROW_COUNT()`, which is −1 if the
/// connection broke during the statement before. The server executes the rest of the script then, too.
fn serve_sql(batch: &Batch<'_>, clients: &BTreeMap<&ClientId, Range>, quantum: i64) -> String {
    let name = |range: &Range| json::string(range.client.as_str());
    let ranges = clients.values().map(|range| format!("[{},{},{}]", name(range), range.first, range.last));
    let parts: Vec<String> = clients
        .values()
        .flat_map(rows::blocks)
        .map(|part| format!("[{},{},{},{}]", name(&part), part.first / rows::BLOCK, part.first, part.last))
        .collect();
    format!(
        "SET @ranges = {ranges}, @parts = {parts}; \
         SELECT MAX(name) INTO @name FROM replicas WHERE {registered}; \
         BEGIN; \
         SELECT COUNT(*) INTO @is_turn FROM turns WHERE {serves} FOR UPDATE; \
         SELECT COALESCE(SUM(clients.next_to_serve = sent.first_counter \
                             AND clients.first_missing > sent.last_counter), 0) INTO @valid \
         FROM {RANGES} WHERE @is_turn = 1 {FOR_UPDATE}; \
         SET @now = {NOW}; \
         INSERT INTO served_ranges (client_id, block, first_counter, last_counter, turn, replica, served_at) \
         SELECT part.client_id, part.block, part.first_counter, part.last_counter, turns.turn, @name, @now \
         FROM turns STRAIGHT_JOIN {PARTS} \
         WHERE {serves} AND @now DIV {quantum} = {turn} AND {NOW} DIV {quantum} = {turn} \
         AND @name IS NOT NULL AND @valid = {count} \
         ON DUPLICATE KEY UPDATE last_counter = part.last_counter, turn = turns.turn, replica = @name, \
         served_at = @now; \
         SELECT @valid = {count} AND COUNT(*) = {part_count} INTO @is_served FROM {PARTS} STRAIGHT_JOIN served_ranges \
         ON served_ranges.client_id = part.client_id AND served_ranges.block = part.block \
         AND served_ranges.first_counter = part.first_counter AND served_ranges.last_counter = part.last_counter \
         AND served_ranges.turn = {turn} AND served_ranges.replica = @name AND served_ranges.served_at = @now; \
         UPDATE {RANGES} SET clients.next_to_serve = sent.last_counter + 1, clients.seen_at = {seen} \
         WHERE @is_served = 1; \
         UPDATE turns SET served = served + {messages} WHERE turn = {turn} AND @is_served = 1; \
         COMMIT; \
         {waiting}; \
         SELECT CAST(@is_turn = 1 AND @name IS NOT NULL AND @now DIV {quantum} = {turn} AS SIGNED), \
         CAST(@valid AS SIGNED), CAST(@is_served AS SIGNED), @now",
        ranges = json::rows(ranges),
        parts = json::rows(&parts),
        part_count = parts.len(),
        registered = registered_sql(batch.replica),
        serves = serves_sql(batch.replica, batch.turn),
        turn = batch.turn.0,
        count = clients.len(),
        seen = seen_sql(),
        messages = clients.values().map(Range::count).sum::<i64>(),
        waiting = batch.waiting,
    )
}

/// Looks whether it is the turn of the replica, and changes nothing. The answers are those of
/// [`serve_sql`] without clients.
fn look_sql(batch: &Batch<'_>, quantum: i64) -> String {
    format!(
        "SET @now = {NOW}; \
         {waiting}; \
         SELECT CAST(@now DIV {quantum} = {turn} AND EXISTS (SELECT 1 FROM replicas WHERE {registered}) \
         AND EXISTS (SELECT 1 FROM turns WHERE {serves}) AS SIGNED), 0, 1, @now",
        waiting = batch.waiting,
        turn = batch.turn.0,
        registered = registered_sql(batch.replica),
        serves = serves_sql(batch.replica, batch.turn),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(client: &str, first: i64, last: i64) -> Range {
        Range { client: ClientId::try_from(client.to_owned()).expect("a name"), first, last }
    }

    #[test]
    fn ranges_fit_as_far_as_is_known() {
        let ranges = [range("x", 2, 1), range("x", 2, 3), range("y", 1, 1), range("x", 4, 5), range("x", 4, 4)];
        assert_eq!(fitting(&ranges, None), [range("x", 2, 3), range("y", 1, 1), range("x", 4, 5)]);
        let positions = |x| Positions::from([(range("x", 0, 0).client, x)]);
        assert_eq!(fitting(&ranges, Some(&positions((4, 5)))), [range("x", 4, 4)]);
        assert_eq!(fitting(&ranges, Some(&positions((2, 5)))), [range("x", 2, 3), range("x", 4, 4)]);
        assert_eq!(fitting(&ranges, Some(&positions((1, 9)))), []);
    }

    #[test]
    fn each_client_has_one_range() {
        let ranges = [range("x", 2, 3), range("y", 1, 1), range("x", 4, 5)];
        let clients: Vec<Range> = by_client(&ranges).into_values().collect();
        assert_eq!(clients, [range("x", 2, 5), range("y", 1, 1)]);
    }
}
