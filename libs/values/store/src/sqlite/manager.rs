//! Operations of a manager.

use async_trait::async_trait;
use kit_database::Result;
use kit_database::sqlite::Transaction;
use sqlx::AssertSqlSafe;
use values_core::assignment::Transfer;
use values_core::tables::{Campaign, Observation, concerned};
use values_core::types::{Incarnation, Term};

use super::{SqliteStore, now_ms, observe};
use crate::{LEASE_TTL_MS, ManagerStore, list, new_token};

#[async_trait]
impl ManagerStore for SqliteStore {
    async fn campaign(&self, holder: &str) -> Result<Campaign> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = now_ms(&mut transaction).await?;
        // Inserts the row if it was lost. Terms continue at the clock, which no earlier term has
        // reached.
        sqlx::query("INSERT OR IGNORE INTO manager_lease (id, term) VALUES (1, ?)")
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
        let token = new_token();
        let term: Option<i64> = sqlx::query_scalar(
            "UPDATE manager_lease SET term = term + 1, holder = ?1, until = ?2 + ?3, token = ?4 \
             WHERE id = 1 AND (until <= ?2 OR until > ?2 + 2 * ?3 OR holder = ?1) RETURNING term",
        )
        .bind(holder)
        .bind(now_ms)
        .bind(LEASE_TTL_MS)
        .bind(token.0)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Campaign { now_ms, won: term.map(|number| Term { number, token }) })
    }

    async fn observe(&self, term: Term) -> Result<Option<Observation>> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = now_ms(&mut transaction).await?;
        let held: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM manager_lease WHERE id = 1 AND term = ? AND token = ?")
                .bind(term.number)
                .bind(term.token.0)
                .fetch_one(&mut *transaction)
                .await?;
        if held == 0 {
            return Ok(None);
        }
        sqlx::query("UPDATE manager_lease SET until = ?1 + ?2 WHERE id = 1 AND until < ?1 + ?2 / 2")
            .bind(now_ms)
            .bind(LEASE_TTL_MS)
            .execute(&mut *transaction)
            .await?;
        let observation = observe(&mut transaction, now_ms).await?;
        transaction.commit().await?;
        Ok(Some(observation))
    }

    async fn expire(&self, term: Term, workers: &[Incarnation], dead_after_ms: i64) -> Result<Option<u64>> {
        let Some((mut transaction, now_ms)) = self.fenced(term).await? else { return Ok(None) };
        let workers = list(workers.iter().map(|worker| worker.0));
        let sql = format!(
            "UPDATE workers SET state = 'dead' WHERE incarnation IN ({workers}) AND state <> 'dead' \
             AND heartbeat NOT BETWEEN {now_ms} - {dead_after_ms} AND {now_ms} + {dead_after_ms}"
        );
        let expired = sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(Some(expired))
    }

    async fn assign(&self, term: Term, transfers: &[Transfer]) -> Result<Option<u64>> {
        let Some((mut transaction, _)) = self.fenced(term).await? else { return Ok(None) };
        let mut moved = 0;
        for transfer in transfers {
            moved += sqlx::query(
                "UPDATE `values` SET owner = ?1, epoch = epoch + 1 \
                 WHERE id IN (SELECT id FROM `values` WHERE owner IS ?2 ORDER BY id LIMIT ?3)",
            )
            .bind(transfer.to.0)
            .bind(transfer.from.map(|from| from.0))
            .bind(i64::try_from(transfer.count).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        }
        let concerned = list(concerned(transfers).iter().map(|worker| worker.0));
        let sql = format!("UPDATE workers SET generation = generation + 1 WHERE incarnation IN ({concerned})");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Some(moved))
    }

    async fn set_draining(&self, term: Term, workers: &[Incarnation], draining: bool) -> Result<Option<()>> {
        let Some((mut transaction, _)) = self.fenced(term).await? else { return Ok(None) };
        let workers = list(workers.iter().map(|worker| worker.0));
        let state = if draining { "draining" } else { "active" };
        let sql = format!(
            "UPDATE workers SET state = '{state}' \
             WHERE incarnation IN ({workers}) AND state <> 'dead' AND capacity > 0"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Some(()))
    }

    async fn resign(&self, term: Term) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE manager_lease SET until = 0 WHERE id = 1 AND term = ? AND token = ?")
            .bind(term.number)
            .bind(term.token.0)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

impl SqliteStore {
    /// Begins a transaction that renews the lease, and returns it with its time in
    /// milliseconds; `None` under a stale term.
    async fn fenced(&self, term: Term) -> Result<Option<(Transaction, i64)>> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = now_ms(&mut transaction).await?;
        let held = sqlx::query("UPDATE manager_lease SET until = ? WHERE id = 1 AND term = ? AND token = ?")
            .bind(now_ms + LEASE_TTL_MS)
            .bind(term.number)
            .bind(term.token.0)
            .execute(&mut *transaction)
            .await?
            .rows_affected()
            == 1;
        Ok(held.then_some((transaction, now_ms)))
    }
}
