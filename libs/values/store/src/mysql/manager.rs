//! Operations of a manager.

use std::fmt::Write;

use async_trait::async_trait;
use kit_database::Result;
use kit_database::mysql::{Answer, text};
use sqlx::Row;
use values_core::assignment::Transfer;
use values_core::tables::{Campaign, Observation, concerned};
use values_core::types::{Incarnation, Term};

use super::{MySqlStore, NOW_MS, answer, observation_sql, only_row, read_observation, unexpected};
use crate::{LEASE_TTL_MS, ManagerStore, list, new_token};

#[async_trait]
impl ManagerStore for MySqlStore {
    async fn campaign(&self, holder: &str) -> Result<Campaign> {
        if let Some(campaign) = self.take_lease(holder).await? {
            return Ok(campaign);
        }
        // The row was lost. Terms continue at the clock, which no earlier term has reached.
        self.run(&format!("INSERT IGNORE INTO manager_lease (id, term) VALUES (1, {NOW_MS})")).await?;
        self.take_lease(holder).await?.ok_or_else(|| unexpected("a lease"))
    }

    async fn observe(&self, term: Term) -> Result<Option<Observation>> {
        let sql = format!(
            "UPDATE manager_lease SET until = {NOW_MS} + {LEASE_TTL_MS} \
             WHERE {held} AND until < {NOW_MS} + {LEASE_TTL_MS} / 2; \
             SELECT COUNT(*) FROM manager_lease WHERE {held}; {}",
            observation_sql(),
            held = held_sql(term)
        );
        let answers = self.run(&sql).await?;
        let held: i64 = only_row(answer(&answers, 1)?)?.try_get(0)?;
        if held == 0 {
            return Ok(None);
        }
        read_observation(answers.get(2..).unwrap_or_default()).map(Some)
    }

    async fn expire(&self, term: Term, workers: &[Incarnation], dead_after_ms: i64) -> Result<Option<u64>> {
        let workers = list(workers.iter().map(|worker| worker.0));
        let expire = format!(
            "UPDATE workers SET state = 'dead' WHERE incarnation IN ({workers}) AND state <> 'dead' AND @held = 1 \
             AND heartbeat NOT BETWEEN {NOW_MS} - {dead_after_ms} AND {NOW_MS} + {dead_after_ms}"
        );
        let answers = self.run(&fenced(term, &expire)).await?;
        if_held(&answers, answer(&answers, 3)?.affected)
    }

    /// Skips rows that other sessions have locked; a later pass moves them. Waiting for
    /// them would keep the lease row locked, and so delay failovers.
    async fn assign(&self, term: Term, transfers: &[Transfer]) -> Result<Option<u64>> {
        let mut sql = String::new();
        for Transfer { from, to, count } in transfers {
            let from = from.map_or_else(|| "NULL".to_owned(), |from| from.to_string());
            let _ = write!(
                sql,
                "UPDATE (SELECT id FROM `values` WHERE owner <=> {from} AND @held = 1 \
                         ORDER BY id LIMIT {count} FOR UPDATE SKIP LOCKED) AS free \
                 STRAIGHT_JOIN `values` AS row_of ON row_of.id = free.id \
                 SET row_of.owner = {to}, row_of.epoch = row_of.epoch + 1; "
            );
        }
        let concerned = list(concerned(transfers).iter().map(|worker| worker.0));
        let _ = write!(
            sql,
            "UPDATE workers SET generation = generation + 1 WHERE incarnation IN ({concerned}) AND @held = 1"
        );
        let answers = self.run(&fenced(term, &sql)).await?;
        let moves = answers.iter().skip(3).take(transfers.len());
        if_held(&answers, moves.map(|answer| answer.affected).sum())
    }

    async fn set_draining(&self, term: Term, workers: &[Incarnation], draining: bool) -> Result<Option<()>> {
        let workers = list(workers.iter().map(|worker| worker.0));
        let state = if draining { "draining" } else { "active" };
        let set = format!(
            "UPDATE workers SET state = '{state}' \
             WHERE incarnation IN ({workers}) AND state <> 'dead' AND capacity > 0 AND @held = 1"
        );
        if_held(&self.run(&fenced(term, &set)).await?, ())
    }

    async fn resign(&self, term: Term) -> Result<()> {
        let sql = format!("UPDATE manager_lease SET until = 0 WHERE {}", held_sql(term));
        self.run(&sql).await.map(drop)
    }
}

impl MySqlStore {
    /// Takes the lease if it is free; `None` if its row is gone.
    async fn take_lease(&self, holder: &str) -> Result<Option<Campaign>> {
        let (holder, token) = (text(holder), new_token());
        let sql = format!(
            "BEGIN; \
             UPDATE manager_lease \
             SET term = term + 1, holder = {holder}, until = {NOW_MS} + {LEASE_TTL_MS}, token = {token} \
             WHERE id = 1 AND (until <= {NOW_MS} OR until > {NOW_MS} + 2 * {LEASE_TTL_MS} OR holder = {holder}); \
             SELECT {NOW_MS}, term FROM manager_lease WHERE id = 1; \
             COMMIT"
        );
        let answers = self.run(&sql).await?;
        let won = answer(&answers, 1)?.affected == 1;
        let Some(row) = answer(&answers, 2)?.rows.first() else { return Ok(None) };
        let term = Term { number: row.try_get(1)?, token };
        Ok(Some(Campaign { now_ms: row.try_get(0)?, won: won.then_some(term) }))
    }
}

/// The condition that finds the row of the lease if it records `term`.
fn held_sql(Term { number, token }: Term) -> String {
    format!("id = 1 AND term = {number} AND token = {token}")
}

/// A transaction that first renews the lease. This locks the lease to the end of the
/// transaction, so no other manager can take it. `@held` is 1 if the term still holds. It is −1 if
/// the connection broke during the renewal: `sql` has to change nothing then, as without the lease.
fn fenced(term: Term, sql: &str) -> String {
    format!(
        "BEGIN; \
         UPDATE manager_lease SET until = {NOW_MS} + {LEASE_TTL_MS} WHERE {held}; \
         SET @held = ROW_COUNT(); \
         {sql}; \
         COMMIT",
        held = held_sql(term)
    )
}

fn if_held<T>(answers: &[Answer], value: T) -> Result<Option<T>> {
    Ok((answer(answers, 1)?.affected == 1).then_some(value))
}
