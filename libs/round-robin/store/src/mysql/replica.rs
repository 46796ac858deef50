//! Operations of a replica.

use async_trait::async_trait;
use kit_database::Result;
use kit_database::mysql::{Answer, text};
use round_robin_core::tables::{Beat, REPLICA_KEPT_MS, ServedBatch, Waiting};
use round_robin_core::turns::{DEAD_AFTER_MS, Quantum};
use round_robin_core::types::{ClientId, Range, Registration, ReplicaId, Token, Turn};
use sqlx::Row;

use super::{MySqlStore, NOW, TIMEOUT, answer, last, literal, only_row, unexpected};
use crate::{Registered, ReplicaStore, new_token, rows};

#[async_trait]
impl ReplicaStore for MySqlStore {
    async fn register(&self, name: &str) -> Result<Registered> {
        let token = new_token();
        let answers = self.beat.run(&register_sql(name, token, self.quantum), TIMEOUT).await?;
        let registered = answer(&answers, REGISTRATION)?;
        if registered.affected == 0 {
            let quantum = Quantum::from_millis(only_row(last(&answers)?)?.try_get(0)?);
            return Ok(Registered::OtherQuantum(quantum.ok_or_else(|| unexpected("the length of a turn"))?));
        }
        let id = i64::try_from(registered.insert_id).ok().filter(|id| *id > 0);
        Ok(Registered::As(Registration { id: ReplicaId(id.ok_or_else(|| unexpected("a new key"))?), token }))
    }

    async fn beat(&self, replica: Registration) -> Result<Beat> {
        let sql = beat_sql(replica, self.quantum.as_millis());
        let answers = self.beat.run(&sql, TIMEOUT).await?;
        let row = only_row(last(&answers)?)?;
        let (serves, token): (Option<i64>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
        Ok(Beat {
            now: row.try_get(0)?,
            is_registered: answer(&answers, HEARTBEAT)?.affected == 1,
            turn: Turn(row.try_get(1)?),
            serves: serves.zip(token).map(|(id, token)| Registration { id: ReplicaId(id), token: Token(token) }),
        })
    }

    async fn leave(&self, replica: Registration) -> Result<()> {
        let sql = format!("UPDATE replicas SET is_leaving = TRUE WHERE {}", registered_sql(replica));
        self.beat.run(&sql, TIMEOUT).await.map(drop)
    }

    async fn serve(
        &self,
        replica: Registration,
        turn: Turn,
        ranges: &[Range],
        (after, limit): (Option<&ClientId>, usize),
    ) -> Result<Option<(ServedBatch, Vec<Waiting>)>> {
        self.serve_ranges(replica, turn, ranges, &waiting_sql(after, limit)).await
    }

    async fn waiting(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Waiting>> {
        read_waiting(last(&self.serve.run(&waiting_sql(after, limit), TIMEOUT).await?)?)
    }
}

/// The condition that finds the row of this registration, unless it is lost.
pub(super) fn registered_sql(Registration { id, token }: Registration) -> String {
    format!("id = {} AND token = {}", id.0, token.0)
}

/// The condition that finds the row of `turn` if this replica serves in it.
pub(super) fn serves_sql(Registration { id, token }: Registration, turn: Turn) -> String {
    format!("turns.turn = {} AND turns.replica = {} AND turns.token = {}", turn.0, id.0, token.0)
}

pub(super) fn waiting_sql(after: Option<&ClientId>, limit: usize) -> String {
    let after = after.map_or_else(String::new, |after| format!("AND client_id > {}", literal(after)));
    format!(
        "SELECT {} FROM clients FORCE INDEX (clients_waiting) WHERE is_waiting = 1 {after} \
         ORDER BY client_id LIMIT {limit}",
        rows::WAITING
    )
}

pub(super) fn read_waiting(answer: &Answer) -> Result<Vec<Waiting>> {
    answer.rows.iter().map(rows::waiting).collect()
}

/// Index of the answer to the registration.
const REGISTRATION: usize = 8;

/// A registration, if the turns of the database have this length.
///
/// It locks the row with the length of a turn, so that replicas register one after the other. A
/// transaction that serves takes no such lock: the length changes only when every turn is over in
/// which a replica could still serve.
fn register_sql(name: &str, token: Token, quantum: Quantum) -> String {
    format!(
        "BEGIN; \
         INSERT INTO turn_length (id, quantum) VALUES (1, {quantum}) ON DUPLICATE KEY UPDATE id = 1; \
         SELECT quantum INTO @quantum FROM turn_length WHERE id = 1 FOR UPDATE; \
         SET @now = {NOW}; \
         SELECT @quantum <> {quantum} AND COUNT(*) = 0 INTO @is_new FROM replicas \
         WHERE heartbeat BETWEEN @now - {DEAD_AFTER_MS} - @quantum AND @now + {DEAD_AFTER_MS}; \
         DELETE FROM turns WHERE @is_new; \
         DELETE FROM replicas WHERE @is_new OR heartbeat < @now - {REPLICA_KEPT_MS}; \
         UPDATE turn_length SET quantum = {quantum} WHERE @is_new; \
         INSERT INTO replicas (name, heartbeat, token) \
         SELECT {name}, @now, {token} FROM turn_length WHERE quantum = {quantum}; \
         COMMIT; \
         SELECT quantum FROM turn_length",
        name = text(name),
        token = token.0,
        quantum = quantum.as_millis(),
    )
}

/// Index of the answer to the heartbeat.
const HEARTBEAT: usize = 2;

/// A heartbeat. If the current turn has no row, inserts it.
///
/// Before that, it locks the latest row and the row before the new one, which are the same unless the
/// clock was set back. A transaction that serves has locked the row of its turn. So all transactions
/// of a turn commit before the row of the next one. The turn is that of the time before the locks. If
/// they are held beyond its end, nobody can serve in it any more, and its row does no harm.
fn beat_sql(replica: Registration, quantum: i64) -> String {
    let is_live = |row: &str| {
        format!("NOT {row}.is_leaving AND {row}.heartbeat BETWEEN @now - {DEAD_AFTER_MS} AND @now + {DEAD_AFTER_MS}")
    };
    format!(
        "SET @now = {NOW}, @turn = {NOW} DIV {quantum}; \
         BEGIN; \
         UPDATE replicas SET heartbeat = @now WHERE {registered}; \
         SELECT COUNT(*) = 0 INTO @is_new FROM turns WHERE turn = @turn; \
         SELECT turn FROM turns WHERE @is_new AND turn < @turn ORDER BY turn DESC LIMIT 1 FOR UPDATE; \
         SELECT turn FROM turns WHERE @is_new ORDER BY turn DESC LIMIT 1 FOR UPDATE; \
         INSERT INTO turns (turn, replica, token, name) \
         SELECT @turn, id, token, name FROM replicas WHERE @is_new AND {this_lives} \
         AND (SELECT COUNT(*) FROM replicas AS before_this WHERE before_this.id < replicas.id AND {before_lives}) \
             = MOD(@turn, (SELECT COUNT(*) FROM replicas AS live WHERE {lives})) \
         ON DUPLICATE KEY UPDATE served = turns.served; \
         COMMIT; \
         SELECT @now, CAST(@turn AS SIGNED), turns.replica, turns.token \
         FROM (SELECT 1) AS always LEFT JOIN turns ON turns.turn = @turn",
        registered = registered_sql(replica),
        this_lives = is_live("replicas"),
        before_lives = is_live("before_this"),
        lives = is_live("live"),
    )
}
