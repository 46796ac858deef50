//! WebSockets of clients: `/ws`.

mod end;
mod frames;
mod hello;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::Response;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Query};
use kit_web::websocket::{Farewell, Settings, Socket, Upgrade};
use round_robin_protocol::ServerFrame;
use round_robin_store::IntakeStore;

use self::end::End;
use self::session::Session;
use crate::Metrics;
use crate::answers::Answers;
use crate::api::State;
use crate::intake::{Acknowledgements, Intake};

/// The largest frame, in bytes: JSON takes up to six bytes for a byte of a text.
const MAX_FRAME: usize = 512 * 1024;

/// Milliseconds between two clients that connect again when a server ends, on average: 50 of them in
/// a second.
const SPREAD_MS: u64 = 20;

/// Bounds of the time over which the clients of a server that ends are spread, in milliseconds.
const SPAN_MS: (u64, u64) = (1_000, 60_000);

/// What all sockets share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sockets {
    pub(crate) store: Arc<dyn IntakeStore>,
    pub(crate) intake: Intake,
    pub(crate) acknowledgements: Acknowledgements,
    pub(crate) answers: Answers,
    pub(crate) metrics: Metrics,
    /// Time limit for the first frame: that for the head of a request.
    pub(crate) hello_timeout: Duration,
    /// Number of open sockets.
    pub(crate) open: Arc<AtomicUsize>,
}

/// Open a WebSocket.
///
/// Each frame is one JSON object, whose `type` names it. The first frame of the client is `hello`;
/// then it sends `message` and `ack`. The server sends `resumed` or `lost`, `accepted`, `served`,
/// `refused` and `goaway`. `docs/round-robin.md` describes the protocol.
#[utoipa::path(
    get,
    path = "/ws",
    responses(
        (status = 101, description = "the connection is a WebSocket"),
        (status = 400, body = Problem, description = "not a request for a WebSocket"),
        (status = 426, body = Problem),
    )
)]
pub(crate) async fn open(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
    upgrade: Upgrade,
) -> Response {
    let sockets = state.sockets;
    let settings = Settings { max_message: MAX_FRAME, farewell: Some(farewell(&sockets.open)), ..Settings::default() };
    upgrade.run(settings, async move |socket| run(socket, sockets).await)
}

async fn run(mut socket: Socket, sockets: Sockets) {
    let end = match hello::receive(&mut socket, &sockets).await {
        Ok(connected) => {
            let _open = Open::new(&sockets);
            Session::new(&mut socket, sockets, connected).run().await
        }
        Err(end) => end,
    };
    end.carry_out(socket).await;
}

/// Tells each client when to connect again.
fn farewell(open: &Arc<AtomicUsize>) -> Farewell {
    let open = Arc::clone(open);
    Farewell::new(move || {
        let clients = u64::try_from(open.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        frames::encode(&ServerFrame::Goaway { retry_after_ms: fastrand::u64(0..span_ms(clients)) })
    })
}

/// The time over which `clients` connect again.
fn span_ms(clients: u64) -> u64 {
    clients.saturating_mul(SPREAD_MS).clamp(SPAN_MS.0, SPAN_MS.1)
}

/// Counts an open socket until it is dropped.
struct Open(Sockets);

impl Open {
    fn new(sockets: &Sockets) -> Self {
        sockets.open.fetch_add(1, Ordering::Relaxed);
        sockets.metrics.sockets.inc();
        Self(sockets.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.sockets.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_clients_are_spread_over_a_longer_time() {
        assert_eq!([0, 1, 50, 51, 1000, 100_000].map(span_ms), [1000, 1000, 1000, 1020, 20_000, 60_000]);
    }
}
