//! The kind user-request.

use std::time::Duration;

use jobs_kinds::Payload as _;
use jobs_kinds::user_request::Payload;
use jobs_runner::{Context, Done, Failure, Handler, Statement};
use serde_json::json;

/// Waits for the processing time and inserts one row.
pub struct UserRequest {
    processing_time: Duration,
}

impl UserRequest {
    /// Creates the handler. Each job takes `processing_time`.
    #[must_use]
    pub const fn new(processing_time: Duration) -> Self {
        Self { processing_time }
    }
}

impl Handler for UserRequest {
    const KIND: &'static str = Payload::KIND;
    type Payload = Payload;

    async fn run(&self, payload: Payload, context: &Context) -> Result<Done, Failure> {
        let user_id = payload.user_id().map_err(Failure::permanent)?;
        // A placeholder for real work. It blocks no thread.
        tokio::time::sleep(self.processing_time).await;
        let row = Statement::new("INSERT INTO user_requests (job_id, user_id, data) VALUES (?, ?, ?)")
            .bind(context.job())
            .bind(user_id.clone())
            .bind(&payload.data);
        Done::new().effect(row).result(json!({ "user_id": user_id, "data": payload.data }))
    }
}
