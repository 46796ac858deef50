//! The listener over real sockets, and the process around it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod admin;
mod drain;
mod limits;
mod traces;

use std::net::SocketAddr;

use axum::Router;
use kit_process::Shutdown;
use kit_web::http;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Serves `router`, hardened, on a free port.
async fn serve(router: Router) -> (SocketAddr, Shutdown, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    let task = tokio::spawn(http::serve(listener, http::harden(router), shutdown.clone()));
    (address, shutdown, task)
}
