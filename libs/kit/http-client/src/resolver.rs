//! Name resolution.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;

/// The addresses of a host, in the order in which they should be tried.
pub(crate) type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of hosts.
pub(crate) trait Resolve: Send + Sync {
    /// Finds the addresses of the host with this name.
    fn resolve(&self, name: &str) -> Resolving;
}

/// The resolver of the operating system.
#[derive(Debug)]
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> Resolving {
        let name = name.to_owned();
        Box::pin(async move {
            // Only the addresses matter, not the port.
            let addresses = tokio::net::lookup_host((name, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}
