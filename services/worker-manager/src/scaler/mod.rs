//! Starts and stops workers.

#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod orders;

use async_trait::async_trait;

pub(crate) use orders::Orders;

/// A platform that runs a number of workers.
#[async_trait]
pub trait Scaler: Send + Sync {
    /// Reads the requested number of workers from the platform.
    async fn replicas(&self) -> Result<u32, ScalerError>;

    /// Sets the number of workers to `replicas`. If it decreases, `victims` names the
    /// workers without ids, which should be stopped.
    async fn scale(&self, replicas: u32, victims: &[String]) -> Result<(), ScalerError>;
}

/// The platform refused a request or did not answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ScalerError(#[from] Box<dyn std::error::Error + Send + Sync>);

impl ScalerError {
    /// Wraps the platform's own error.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}
