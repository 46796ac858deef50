//! Recording published messages.

use async_trait::async_trait;
use kit_database::Result;
use uuid::Uuid;

use super::{SqliteStore, now};
use crate::OutboxStore;

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn mark_published(&self, messages: &[(Uuid, i64)]) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        let now = now(&mut transaction).await?;
        for (id, token) in messages {
            sqlx::query(
                "UPDATE jobs SET published_at = ?, due_at = NULL \
                 WHERE id = ? AND state = 'queued' AND published_at IS NULL AND lease_token = ?",
            )
            .bind(now)
            .bind(id.as_bytes().as_slice())
            .bind(token)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }
}
