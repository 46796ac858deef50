//! The registry of job kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jobs_core::backoff::Backoff;

use crate::gate::Gate;
use crate::{Context, Done, Failure, Handler, Limits};

/// Largest result, in bytes of JSON.
const MAX_RESULT: usize = 256 * 1024;

/// The kinds of jobs that a process runs, with their handlers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<&'static str, Arc<Kind>>);

/// A handler with the limits that its jobs share.
pub(crate) struct Kind {
    handler: Box<dyn Erased>,
    pub(crate) limits: Limits,
    pub(crate) gate: Gate,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler. It replaces a handler of the same kind.
    #[must_use]
    pub fn with<H: Handler>(mut self, handler: H) -> Self {
        let limits = handler.limits();
        let kind = Kind { handler: Box::new(handler), limits, gate: Gate::new(limits) };
        self.0.insert(H::KIND, Arc::new(kind));
        self
    }

    /// Names of the kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    pub(crate) fn get(&self, kind: &str) -> Option<Arc<Kind>> {
        self.0.get(kind).cloned()
    }

    /// Delays between the attempts of a job of this kind.
    #[must_use]
    pub fn backoff(&self, kind: &str) -> Backoff {
        self.0.get(kind).map_or_else(Backoff::default, |kind| kind.limits.backoff)
    }
}

impl Kind {
    pub(crate) async fn run(&self, payload: &str, context: &Context) -> Result<Done, Failure> {
        let done = self.handler.run(payload, context).await?;
        let length = done.result.to_string().len();
        if length > MAX_RESULT {
            return Err(Failure::permanent(format!("the result has {length} bytes, more than {MAX_RESULT}")));
        }
        Ok(done)
    }
}

trait Erased: Send + Sync {
    fn run<'a>(&'a self, payload: &'a str, context: &'a Context) -> BoxFuture<'a, Result<Done, Failure>>;
}

impl<H: Handler> Erased for H {
    fn run<'a>(&'a self, payload: &'a str, context: &'a Context) -> BoxFuture<'a, Result<Done, Failure>> {
        Box::pin(async move {
            let payload = serde_json::from_str(payload)
                .map_err(|error| Failure::permanent(format!("the payload does not fit the kind: {error}")))?;
            Handler::run(self, payload, context).await
        })
    }
}
