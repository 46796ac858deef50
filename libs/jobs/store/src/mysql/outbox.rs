//! Recording published messages.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kit_database::Result;
use uuid::Uuid;

use super::{MySqlStore, NOW, list};
use crate::OutboxStore;
use crate::chunks::chunks;

#[async_trait]
impl OutboxStore for MySqlStore {
    async fn mark_published(&self, messages: &[(Uuid, i64)]) -> Result<()> {
        let mut tokens: BTreeMap<i64, Vec<Uuid>> = BTreeMap::new();
        for (id, token) in messages {
            tokens.entry(*token).or_default().push(*id);
        }
        for (token, ids) in tokens {
            for ids in chunks(&ids, |_| 0) {
                let sql = format!(
                    "UPDATE jobs FORCE INDEX (PRIMARY) SET published_at = {NOW}, due_at = NULL \
                     WHERE id IN ({ids}) AND state = 'queued' AND published_at IS NULL AND lease_token = {token}",
                    ids = list(ids.iter().copied())
                );
                self.publish.run(&sql, self.time_limit).await?;
            }
        }
        Ok(())
    }
}
