//! Operations of values-api.

use std::fmt::Write;
use std::time::Duration;

use async_trait::async_trait;
use kit_database::mysql::Answer;
use kit_database::{Error, Result};
use sqlx::Row;
use values_core::tables::Observation;
use values_core::types::ValueRow;

use super::{MySqlStore, answer, observation_sql, only_row, read_observation};
use crate::{Added, CHUNK, CatalogStore, MAX_ID, NewValue, Page, ids_above, list, repeated, rows};

/// The timeout of requests that add or remove up to 100,000 rows.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum number of attempts to choose ids, if other clients keep choosing the same ones.
const ATTEMPTS: usize = 20;

#[async_trait]
impl CatalogStore for MySqlStore {
    async fn ping(&self) -> Result<()> {
        self.run(rows::PING).await.map(drop)
    }

    async fn add_count(&self, count: u32) -> Result<Option<Vec<i64>>> {
        match self.add_generated(count).await {
            // The counter of the database is at its end, or above the largest allowed id. It never
            // goes back, even when the rows with the large ids are removed.
            Err(Error::Duplicate | Error::Refused(_)) => self.add_above_largest(count).await,
            ids => ids.map(Some),
        }
    }

    async fn add(&self, values: &[NewValue]) -> Result<Added> {
        let repeated = repeated(values);
        if !repeated.is_empty() {
            return Ok(Added::Exist(repeated));
        }
        let mut sql = String::from("BEGIN");
        for chunk in values.chunks(CHUNK) {
            sql += "; ";
            sql += &rows::insert_sql(chunk);
        }
        sql += "; COMMIT";
        match self.run_long(&sql).await {
            Ok(_) => Ok(Added::All),
            Err(Error::Duplicate) => Ok(Added::Exist(self.existing(values).await?)),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, id: i64) -> Result<bool> {
        let answers = self.run_long(&format!("DELETE FROM `values` WHERE id = {id}")).await?;
        Ok(answer(&answers, 0)?.affected > 0)
    }

    async fn remove_count(&self, count: u32) -> Result<Vec<i64>> {
        match self.remove_chosen(self.largest(count, "").await?).await {
            // Locks that a tick holds last a moment and are waited for; these lasted longer.
            Err(error) if error.is_lock_wait_timeout() => {
                self.remove_chosen(self.largest(count, "FOR UPDATE SKIP LOCKED").await?).await
            }
            removed => removed,
        }
    }

    async fn get(&self, id: i64) -> Result<Option<ValueRow>> {
        let answers = self.run_long(&rows::value_sql(id)).await?;
        answer(&answers, 0)?.rows.first().map(rows::value).transpose()
    }

    async fn list(&self, page: Page) -> Result<Vec<ValueRow>> {
        let answers = self.run_long(&rows::page_sql(page)).await?;
        answer(&answers, 0)?.rows.iter().map(rows::value).collect()
    }

    async fn overview(&self) -> Result<Observation> {
        read_observation(&self.run_long(&observation_sql()).await?)
    }
}

impl MySqlStore {
    async fn run_long(&self, sql: &str) -> Result<Vec<Answer>> {
        self.scripts.run(sql, TIMEOUT).await
    }

    /// Adds ids that the database generates, which takes no lock that another caller waits
    /// for. Fails if it generates an id above [`MAX_ID`].
    async fn add_generated(&self, count: u32) -> Result<Vec<i64>> {
        let mut sql = String::from("BEGIN");
        let mut left = count as usize;
        while left > 0 {
            let rows = left.min(CHUNK);
            left -= rows;
            let values = vec!["()"; rows].join(",");
            // A multi-primary cluster leaves gaps between generated ids. The last column
            // overflows if the last id is above the limit, which fails the transaction.
            let _ = write!(
                sql,
                "; INSERT INTO `values` () VALUES {values}; \
                 SELECT CAST(LAST_INSERT_ID() AS SIGNED), CAST(@@auto_increment_increment AS SIGNED), \
                        CAST(LAST_INSERT_ID() AS SIGNED) + CAST(@@auto_increment_increment AS SIGNED) * {} + {}",
                rows - 1,
                i64::MAX - MAX_ID
            );
        }
        sql += "; COMMIT";
        let answers = self.run_long(&sql).await?;
        let mut ids = Vec::with_capacity(count as usize);
        for pair in answers.get(1..).unwrap_or_default().chunks_exact(2) {
            let row = only_row(&pair[1])?;
            let (first, step): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            let rows = i64::try_from(pair[0].affected).unwrap_or(0);
            ids.extend((0..rows).map(|row| first.saturating_add(step.saturating_mul(row))));
        }
        Ok(ids)
    }

    /// Adds ids that this process chooses. If another one chose the same, chooses again.
    async fn add_above_largest(&self, count: u32) -> Result<Option<Vec<i64>>> {
        for _ in 0..ATTEMPTS {
            let answers = self.run_long(&rows::largest_sql()).await?;
            let largest = only_row(answer(&answers, 0)?)?.try_get(0)?;
            let Some(ids) = ids_above(largest, count) else { return Ok(None) };
            let inserts: Vec<String> = ids.chunks(CHUNK).map(rows::insert_ids_sql).collect();
            match self.run_long(&format!("BEGIN; {}; COMMIT", inserts.join("; "))).await {
                Err(Error::Duplicate) => {}
                added => return added.map(|_| Some(ids)),
            }
        }
        Err(Error::Duplicate)
    }

    async fn largest(&self, count: u32, locking: &str) -> Result<Vec<i64>> {
        let sql = format!("SELECT id FROM `values` ORDER BY id DESC LIMIT {count} {locking}");
        read_ids(answer(&self.run_long(&sql).await?, 0)?)
    }

    /// Removes those of `ids` that still exist, and returns them in ascending order.
    async fn remove_chosen(&self, mut ids: Vec<i64>) -> Result<Vec<i64>> {
        // Rows are locked in the same order as by workers and managers.
        ids.sort_unstable();
        let mut sql = String::from("BEGIN");
        for chunk in ids.chunks(CHUNK) {
            let ids = list(chunk.iter().copied());
            let _ = write!(
                sql,
                "; SELECT id FROM `values` WHERE id IN ({ids}) ORDER BY id FOR UPDATE; \
                 DELETE FROM `values` WHERE id IN ({ids})"
            );
        }
        sql += "; COMMIT";
        let mut removed = Vec::with_capacity(ids.len());
        for pair in self.run_long(&sql).await?.get(1..).unwrap_or_default().chunks_exact(2) {
            removed.extend(read_ids(&pair[0])?);
        }
        Ok(removed)
    }

    async fn existing(&self, values: &[NewValue]) -> Result<Vec<i64>> {
        read_ids(answer(&self.run_long(&rows::existing_sql(values)).await?, 0)?)
    }
}

fn read_ids(answer: &Answer) -> Result<Vec<i64>> {
    answer.rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
