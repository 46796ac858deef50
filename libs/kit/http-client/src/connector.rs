//! Connects to hosts: resolves the name, checks the addresses, and connects to the first
//! one that answers.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::race;
use crate::resolver::Resolve;

/// How long it may take to resolve a name and to connect, over all addresses of a host.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Decides whether the client may connect to an address.
pub(crate) type AddressCheck = fn(IpAddr) -> bool;

/// A host of which no address passes the check.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no public address")]
pub(crate) struct NoPublicAddress(pub(crate) String);

/// Connects to addresses that pass the check, and to no other. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) check: AddressCheck,
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl Connector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let timeout = || io::Error::new(io::ErrorKind::TimedOut, format!("no connection after {TIMEOUT:?}"));
        let stream = tokio::time::timeout(TIMEOUT, self.connect_to_first(&uri)).await.map_err(|_| timeout())??;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }

    async fn connect_to_first(&self, uri: &Uri) -> Result<TcpStream, BoxError> {
        Ok(race::first(self.addresses(uri).await?, TcpStream::connect).await?)
    }

    /// The addresses to connect to. The name is resolved once: a DNS server cannot replace
    /// an address after the check.
    async fn addresses(&self, uri: &Uri) -> Result<Vec<SocketAddr>, BoxError> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolver.resolve(host).await?,
        };
        let checked = addresses.into_iter().filter(|address| (self.check)(*address));
        let checked: Vec<_> = checked.map(|address| SocketAddr::new(address, port)).collect();
        if checked.is_empty() { Err(NoPublicAddress(host.to_owned()).into()) } else { Ok(checked) }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
