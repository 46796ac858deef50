//! Name resolution that returns only addresses that the client may connect to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Decides whether the client may connect to an address.
pub(crate) type AddressCheck = fn(IpAddr) -> bool;

/// A host of which no address passes the check.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no public address")]
pub(crate) struct NoPublicAddress(pub(crate) String);

/// The resolver of the operating system.
#[derive(Debug)]
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The connector replaces port 0 by that of the URL.
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Removes the addresses that do not pass the check. The connector connects to those
/// that remain, and to no other.
pub(crate) struct CheckedResolver {
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) check: AddressCheck,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, check) = (name.as_str().to_owned(), self.check);
        let addresses = self.resolver.resolve(name);
        Box::pin(async move {
            let checked: Vec<SocketAddr> = addresses.await?.filter(|address| check(address.ip())).collect();
            if checked.is_empty() {
                return Err(NoPublicAddress(host).into());
            }
            Ok(Box::new(checked.into_iter()) as Addrs)
        })
    }
}
