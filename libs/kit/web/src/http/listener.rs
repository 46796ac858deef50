//! Accepts connections up to the limit, drains them, and cuts the rest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use kit_process::Shutdown;
use kit_process::config::Invalid;

use super::Limits;
use super::connection::{self, Lifecycle};

/// The pause after a failed accept. Usually the process has no file descriptors left, so
/// that another connection has to close first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens on `address`. `setting` names the flag and the variable that change it.
///
/// # Errors
/// The address cannot be used, most often because another process uses it.
pub async fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, Invalid> {
    TcpListener::bind(address).await.map_err(|error| {
        Invalid::Listener(format!("cannot listen on {address}: {error}; choose another address by {setting}"))
    })
}

/// Serves `router` until `shutdown` drains. Then the listener stops accepting, tells
/// every connection to end (a WebSocket gets a close frame), and waits until all have
/// ended. It cuts those that are left after [`Limits::drain_timeout`] or at an abort.
///
/// Handlers can extract the client's address as `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: Shutdown) {
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let lifecycle = Lifecycle::default();
    let mut draining = std::pin::pin!(shutdown.draining());
    loop {
        let (permit, stream, peer) = tokio::select! {
            () = &mut draining => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        tokio::spawn(connection::serve(stream, peer, permit, router.clone(), limits, &lifecycle));
    }
    drop(listener);
    lifecycle.drain.cancel();
    lifecycle.open.close();
    tokio::select! {
        () = lifecycle.open.wait() => return,
        () = shutdown.aborted() => {}
        () = tokio::time::sleep(limits.drain_timeout.0) => {}
    }
    let open = limits.max_connections - connections.available_permits();
    tracing::warn!(connections = open, "cut the connections that did not end in time");
    lifecycle.cut.cancel();
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    let permit = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (permit, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
