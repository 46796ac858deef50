//! The listener on real sockets, and the process around it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod admin;
mod bodies;
mod compression;
mod drain;
mod limits;
mod routes;
mod traces;
mod upgrades;
mod websocket;

use std::net::SocketAddr;

use axum::Router;
use kit_process::Shutdown;
use kit_web::http::{self, Limits, Routes};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Serves `router`, hardened, on a free port.
async fn serve(router: Router) -> (SocketAddr, Shutdown, JoinHandle<()>) {
    serve_with(router, Limits::default()).await
}

/// Serves `routes` with other limits.
async fn serve_with(routes: impl Into<Routes>, limits: Limits) -> (SocketAddr, Shutdown, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    let task = tokio::spawn(http::serve(listener, http::harden(routes, &limits, None), limits, shutdown.clone()));
    (address, shutdown, task)
}
