//! Takes connections, as many as it can bear, and lets them finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use kit_process::Shutdown;
use kit_process::config::Invalid;

/// Open connections at most; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 4096;

/// How long a client may take to send its request line and headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections get to finish after the drain began, at most.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Listens on `address`. `setting` is the flag and the variable that change it.
///
/// # Errors
/// The address cannot be listened on, mostly because another process has it.
pub async fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, Invalid> {
    TcpListener::bind(address).await.map_err(|error| {
        Invalid::Listener(format!("cannot listen on {address}: {error}; choose another address by {setting}"))
    })
}

/// Answers requests until `shutdown` drains; then finishes those under way.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut draining = std::pin::pin!(shutdown.draining());
    loop {
        let accept = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            () = &mut draining => break,
            (permit, accepted) = accept => match accepted {
                Ok((stream, _)) => (permit, stream),
                Err(error) => {
                    // Out of file descriptors, mostly: others have to close first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let connection = graceful.watch(connection(stream, router.clone()));
        tokio::spawn(async move {
            // A client that goes away in the middle is no event.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = shutdown.aborted() => {}
        () = tokio::time::sleep(DRAIN_TIMEOUT) => tracing::warn!("connections were still open"),
    }
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1024)
        // That a client has gone is noticed when it is answered: to look before would take
        // memory for its next request while this one waits.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}
