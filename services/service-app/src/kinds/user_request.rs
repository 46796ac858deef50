//! The kind user-request.

use std::time::Duration;

use jobs_runner::{Context, Done, Failure, Handler, Statement};
use serde::Deserialize;
use serde_json::{Value, json};

/// Waits for the processing time and inserts one row.
pub struct UserRequest {
    processing_time: Duration,
}

/// Payload of a user request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Id of the user: a number or text.
    #[serde(default)]
    user_id: Value,
    /// Data of the request: any JSON.
    #[serde(default)]
    data: Value,
}

impl UserRequest {
    /// Creates the handler. Each job takes `processing_time`.
    #[must_use]
    pub const fn new(processing_time: Duration) -> Self {
        Self { processing_time }
    }
}

impl Handler for UserRequest {
    const KIND: &'static str = "user-request";
    type Payload = Payload;

    async fn run(&self, payload: Payload, context: &Context) -> Result<Done, Failure> {
        let user_id = match payload.user_id {
            Value::Null => None,
            Value::String(text) if text.len() <= 255 => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => return Err(Failure::permanent("user_id is neither a number nor text of at most 255 bytes")),
        };
        // A placeholder for real work. It blocks no thread.
        tokio::time::sleep(self.processing_time).await;
        let row = Statement::new("INSERT INTO user_requests (job_id, user_id, data) VALUES (?, ?, ?)")
            .bind(context.job())
            .bind(user_id.clone())
            .bind(&payload.data);
        Done::new().effect(row).result(json!({ "user_id": user_id, "data": payload.data }))
    }
}
