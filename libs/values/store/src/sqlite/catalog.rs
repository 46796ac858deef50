//! Operations of values-api.

use async_trait::async_trait;
use kit_database::{Error, Result};
use sqlx::AssertSqlSafe;
use values_core::tables::Observation;
use values_core::types::ValueRow;

use super::{SqliteStore, now_ms, observe};
use crate::{Added, CHUNK, CatalogStore, NewValue, Page, ids_above, repeated, rows};

#[async_trait]
impl CatalogStore for SqliteStore {
    async fn ping(&self) -> Result<()> {
        sqlx::query(rows::PING).fetch_optional(self.pool.reader()).await?;
        Ok(())
    }

    async fn add_count(&self, count: u32) -> Result<Option<Vec<i64>>> {
        let mut transaction = self.pool.begin().await?;
        let largest = sqlx::query_scalar(AssertSqlSafe(rows::largest_sql())).fetch_one(&mut *transaction).await?;
        let Some(ids) = ids_above(largest, count) else { return Ok(None) };
        for chunk in ids.chunks(CHUNK) {
            sqlx::query(AssertSqlSafe(rows::insert_ids_sql(chunk))).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Some(ids))
    }

    async fn add(&self, values: &[NewValue]) -> Result<Added> {
        let repeated = repeated(values);
        if !repeated.is_empty() {
            return Ok(Added::Exist(repeated));
        }
        let mut transaction = self.pool.begin().await?;
        for chunk in values.chunks(CHUNK) {
            match sqlx::query(AssertSqlSafe(rows::insert_sql(chunk)))
                .execute(&mut *transaction)
                .await
                .map_err(Error::from)
            {
                Ok(_) => {}
                Err(Error::Duplicate) => {
                    transaction.rollback().await?;
                    return Ok(Added::Exist(self.existing(values).await?));
                }
                Err(error) => return Err(error),
            }
        }
        transaction.commit().await?;
        Ok(Added::All)
    }

    async fn remove(&self, id: i64) -> Result<bool> {
        let mut transaction = self.pool.begin().await?;
        let done = sqlx::query("DELETE FROM `values` WHERE id = ?").bind(id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn remove_count(&self, count: u32) -> Result<Vec<i64>> {
        let mut transaction = self.pool.begin().await?;
        let mut ids: Vec<i64> = sqlx::query_scalar(
            "DELETE FROM `values` WHERE id IN (SELECT id FROM `values` ORDER BY id DESC LIMIT ?) RETURNING id",
        )
        .bind(count)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        ids.sort_unstable();
        Ok(ids)
    }

    async fn get(&self, id: i64) -> Result<Option<ValueRow>> {
        let row = sqlx::query(AssertSqlSafe(rows::value_sql(id))).fetch_optional(self.pool.reader()).await?;
        row.as_ref().map(rows::value).transpose()
    }

    async fn list(&self, page: Page) -> Result<Vec<ValueRow>> {
        let sql = rows::page_sql(page);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(self.pool.reader()).await?;
        rows.iter().map(rows::value).collect()
    }

    async fn overview(&self) -> Result<Observation> {
        let mut transaction = self.pool.snapshot().await?;
        let now_ms = now_ms(&mut transaction).await?;
        observe(&mut transaction, now_ms).await
    }
}

impl SqliteStore {
    async fn existing(&self, values: &[NewValue]) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(AssertSqlSafe(rows::existing_sql(values))).fetch_all(self.pool.reader()).await?)
    }
}
