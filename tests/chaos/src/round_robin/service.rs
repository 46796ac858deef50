//! The replicas that take new connections, and a load balancer in front of them: what a Service of
//! Kubernetes does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::faults::lock;

/// The replicas, and which of them are ready.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    all: Vec<(SocketAddr, bool)>,
    /// Index of the replica that gets the next connection.
    next: usize,
}

impl Endpoints {
    /// Records whether a replica is ready.
    pub(crate) fn set(&self, address: SocketAddr, is_ready: bool) {
        let mut state = lock(&self.0);
        match state.all.iter_mut().find(|(known, _)| *known == address) {
            Some(endpoint) => endpoint.1 = is_ready,
            None => state.all.push((address, is_ready)),
        }
    }

    /// Returns the ready replicas one after the other.
    pub(crate) fn pick(&self) -> Option<SocketAddr> {
        let mut state = lock(&self.0);
        let count = state.all.len();
        let index = (0..count).map(|step| (state.next + step) % count).find(|index| state.all[*index].1)?;
        state.next = index + 1;
        Some(state.all[index].0)
    }

    /// Whether a replica is ready.
    pub(crate) fn is_ready(&self, address: SocketAddr) -> bool {
        lock(&self.0).all.contains(&(address, true))
    }
}

/// Forwards each connection to a replica that is ready.
#[derive(Debug)]
pub(crate) struct Service {
    address: SocketAddr,
    acceptor: AbortHandle,
}

impl Service {
    pub(crate) async fn start(endpoints: Arc<Endpoints>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let acceptor = tokio::spawn(accept(listener, endpoints)).abort_handle();
        Ok(Self { address, acceptor })
    }

    /// The address on which it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, endpoints: Arc<Endpoints>) {
    // When this task is aborted, the set is dropped, which ends all connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let replica = endpoints.pick();
        connections.spawn(async move {
            // Both ends see an error of their connection.
            let _ = forward(client, replica).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(mut client: TcpStream, replica: Option<SocketAddr>) -> std::io::Result<()> {
    let Some(replica) = replica else { return client.set_zero_linger() };
    let mut server = match TcpStream::connect(replica).await {
        Ok(server) => server,
        Err(error) => return client.set_zero_linger().and(Err(error)),
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let forwarded = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    if forwarded.is_err() {
        // Passes the reset on.
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    forwarded.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_replicas_take_turns() {
        let endpoints = Endpoints::default();
        assert_eq!(endpoints.pick(), None);
        let [one, two, three] = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for address in [one, two, three] {
            endpoints.set(address, true);
        }
        endpoints.set(two, false);
        let picked: Vec<_> = (0..4).filter_map(|_| endpoints.pick()).collect();
        assert_eq!(picked, [one, three, one, three]);
        endpoints.set(two, true);
        assert_eq!((endpoints.pick(), endpoints.pick()), (Some(one), Some(two)));
        assert!(endpoints.is_ready(two) && !endpoints.is_ready(([127, 0, 0, 1], 4).into()));
    }
}
