//! What somebody writes who wants another kind of job.

use std::time::Duration;

use jobs_core::backoff::Backoff;
use jobs_store::Statement;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Context;

/// Runs the jobs of one kind.
pub trait Handler: Send + Sync + 'static {
    /// The name of the kind: at most 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    const KIND: &'static str;

    /// What a job is given. A payload that is none fails the job for good.
    type Payload: DeserializeOwned + Send;

    /// How often and how long jobs of this kind run.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Does the work, and says what came of it. An attempt may be cut off at any
    /// `await`, and the job be tried again: what has to happen exactly once belongs
    /// into the [effect](Done::effect). Whatever else it changes may happen twice;
    /// [`Context::job`] tells others that it is the same.
    fn run(&self, payload: Self::Payload, context: &Context) -> impl Future<Output = Result<Done, Failure>> + Send;
}

/// How often and how long jobs of a kind run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// How many run at once in a process; as many as the process runs, if `None`.
    pub concurrency: Option<usize>,
    /// How many begin in a second in a process; as many as there are, if `None`.
    pub per_second: Option<f64>,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// When a job that failed is tried again.
    pub backoff: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        Self { concurrency: None, per_second: None, timeout: Duration::from_mins(5), backoff: Backoff::default() }
    }
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Done {
    pub(crate) result: Value,
    pub(crate) effect: Vec<Statement>,
}

impl Done {
    /// It is done, and there is nothing to say.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What people see of it, at most 256 KiB of JSON.
    pub fn result(mut self, result: impl Serialize) -> Result<Self, Failure> {
        self.result = serde_json::to_value(result).map_err(|error| Failure::permanent(error.to_string()))?;
        Ok(self)
    }

    /// A statement that is carried out in the transaction in which the job succeeds:
    /// exactly once. May be called again for more.
    #[must_use]
    pub fn effect(mut self, statement: Statement) -> Self {
        self.effect.push(statement);
        self
    }

    /// What people will see of it.
    #[must_use]
    pub const fn as_result(&self) -> &Value {
        &self.result
    }

    /// The statements that are to be carried out.
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
    /// Another attempt may succeed.
    #[must_use]
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: false, retry_after: None }
    }

    /// Another attempt may succeed, after this time.
    #[must_use]
    pub fn retry_after(reason: impl Into<String>, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..Self::retry(reason) }
    }

    /// No attempt will succeed.
    #[must_use]
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self { permanent: true, ..Self::retry(reason) }
    }

    /// What went wrong, for a person.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether no attempt will succeed.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.permanent
    }
}

/// Any error may pass.
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
