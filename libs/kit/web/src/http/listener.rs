//! Accepts connections up to the limit, drains them, and cuts the rest.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};

use kit_process::Shutdown;
use kit_process::config::Invalid;

use super::Limits;
use super::connection::{self, Lifecycle, Place};
use super::places::{Episode, Places};

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
/// Connections above [`Limits::max_connections`] wait to be accepted, and so do those for
/// which the process has not enough file descriptors.
///
/// Handlers can extract the client's address as `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: Shutdown) {
    serve_by(Acceptor::new(listener, limits, Some(Places::of_process())), router, limits, shutdown).await;
}

/// Serves like [`serve`], even while clients of other listeners use all connections that the
/// process may have. `limits` must allow a few connections only.
pub(crate) async fn serve_from_reserve(listener: TcpListener, router: Router, limits: Limits, shutdown: Shutdown) {
    serve_by(Acceptor::new(listener, limits, None), router, limits, shutdown).await;
}

async fn serve_by(mut acceptor: Acceptor, router: Router, limits: Limits, shutdown: Shutdown) {
    let lifecycle = Lifecycle::default();
    let mut draining = std::pin::pin!(shutdown.draining());
    loop {
        let (stream, peer, place) = tokio::select! {
            () = &mut draining => break,
            accepted = acceptor.accept() => accepted,
        };
        tokio::spawn(connection::serve(stream, peer, place, router.clone(), limits, &lifecycle));
    }
    let Acceptor { listener, places, .. } = acceptor;
    drop(listener);
    lifecycle.drain.cancel();
    lifecycle.open.close();
    tokio::select! {
        () = lifecycle.open.wait() => return,
        () = shutdown.aborted() => {}
        () = tokio::time::sleep(limits.drain_timeout.0) => {}
    }
    tracing::warn!(connections = places.taken(), "cut the connections that did not end in time");
    lifecycle.cut.cancel();
}

/// Accepts connections for which there is a place.
struct Acceptor {
    listener: TcpListener,
    places: Places,
    /// Places that all listeners share; `None` for a listener that does not depend on them.
    places_of_process: Option<Places>,
    failure: Episode,
}

impl Acceptor {
    fn new(listener: TcpListener, limits: Limits, places_of_process: Option<Places>) -> Self {
        let places = Places::of_listener(limits.max_connections);
        Self { listener, places, places_of_process, failure: Episode::default() }
    }

    async fn accept(&mut self) -> (TcpStream, SocketAddr, Place) {
        let own = self.places.take().await;
        let (stream, peer) = self.accept_with_pauses().await;
        // Taken after a connection has arrived, so that an idle listener takes no place of the
        // process.
        let of_process = match &mut self.places_of_process {
            Some(places) => places.take().await,
            None => None,
        };
        (stream, peer, Place { _own: own, _of_process: of_process })
    }

    async fn accept_with_pauses(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    if let Some(failures) = self.failure.calm() {
                        tracing::info!(failures, "connections are accepted again");
                    }
                    return accepted;
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    if self.failure.event() {
                        tracing::warn!(%error, "cannot accept connections; trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Whether `error` says that the client has given up before its connection was accepted.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
