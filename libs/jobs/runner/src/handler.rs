//! The handler of a kind of job.

use std::time::Duration;

use jobs_core::backoff::Backoff;
use jobs_store::Statement;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Context;

/// Runs jobs of one kind.
pub trait Handler: Send + Sync + 'static {
    /// Name of the kind: at most 64 characters of `a-z`, `0-9`, `-`, `_` and `.`.
    const KIND: &'static str;

    /// Type of the payload. A payload that does not parse fails the job permanently.
    type Payload: DeserializeOwned + Send;

    /// Limits for jobs of this kind.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Runs one attempt.
    ///
    /// The attempt may be cut off at any `await`, and the job tried again. So changes that
    /// must happen exactly once belong in the [effect](Done::effect). All other changes may
    /// happen more than once: pass [`Context::job`] to other systems as idempotency key.
    fn run(&self, payload: Self::Payload, context: &Context) -> impl Future<Output = Result<Done, Failure>> + Send;
}

/// Limits for jobs of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Highest number that run at once in a process; `None` for no limit of their own.
    pub concurrency: Option<usize>,
    /// Highest number that start per second in a process; `None` for no limit.
    pub per_second: Option<f64>,
    /// Time limit of an attempt.
    pub timeout: Duration,
    /// Delay before the next attempt.
    pub backoff: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        Self { concurrency: None, per_second: None, timeout: Duration::from_mins(5), backoff: Backoff::default() }
    }
}

/// The outcome of a successful attempt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Done {
    pub(crate) result: Value,
    pub(crate) effect: Vec<Statement>,
}

impl Done {
    /// Success with the result `null` and without an effect.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the result that clients see, at most 256 KiB of JSON.
    pub fn result(mut self, result: impl Serialize) -> Result<Self, Failure> {
        self.result = serde_json::to_value(result).map_err(|error| Failure::permanent(error.to_string()))?;
        Ok(self)
    }

    /// Adds a statement to the effect. The runner executes the effect exactly once, in the
    /// transaction in which the job succeeds.
    #[must_use]
    pub fn effect(mut self, statement: Statement) -> Self {
        self.effect.push(statement);
        self
    }

    /// The result that clients see.
    #[must_use]
    pub const fn as_result(&self) -> &Value {
        &self.result
    }

    /// The statements of the effect.
    #[must_use]
    pub fn as_effect(&self) -> &[Statement] {
        &self.effect
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub(crate) reason: String,
    pub(crate) permanent: bool,
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that another attempt may not have.
    #[must_use]
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: false, retry_after: None }
    }

    /// A failure that may not recur in another attempt after `delay`. The longest delay of the
    /// kind's [backoff](Limits::backoff) limits `delay`.
    #[must_use]
    pub fn retry_after(reason: impl Into<String>, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..Self::retry(reason) }
    }

    /// A failure that every attempt would have: the job is not tried again.
    #[must_use]
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self { permanent: true, ..Self::retry(reason) }
    }

    /// The reason, as clients see it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether the job is not tried again.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.permanent
    }
}

/// Any error becomes a failure that is tried again.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self::retry(reason)
    }
}
