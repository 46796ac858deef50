//! Socket.IO: passes what clients do to the game.

pub(crate) mod events;
mod gate;
pub(crate) mod presence;

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::{Router, middleware};
use counting_core::Connection;
use counting_protocol::{NUMBER, Number};
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::DisconnectReason;
use tokio::sync::oneshot;

use self::events::{Answer, wanted_role};
pub(crate) use self::gate::{Gate, Origins};
use self::presence::Presences;
use crate::game::{Game, Input};

/// Path of the connections of Socket.IO.
const PATH: &str = "/socket.io";

/// Time between two pings. A client that waits for a role depends on it: see
/// [`Presences`].
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Time limit for the answer to a ping, while no other client waits for the role.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Time without a byte after which a client is gone, even if Engine.IO has not ended its session:
/// it may wait until the client accepts its last messages.
pub(crate) const SILENCE: Duration = Duration::from_secs(7);

/// Time limit for a client to ask for its role after it has opened a session, and for the answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message, in bytes. A number takes about 60.
const MAX_MESSAGE: usize = 16 * 1024;

/// Number of messages to a client that may wait to be sent: more than the acknowledgements that
/// the core keeps for both clients.
const OUTGOING: usize = 8 * 1024;

/// The reason for which a client does not get a role.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refused {
    /// Both roles are held.
    #[error("both roles are taken, and both holders answer")]
    Taken,
    /// There is no such role.
    #[error("role: expected client1 or client2")]
    Role,
    /// The client did not answer while it waited, or the server ends.
    #[error("the server no longer waits for this client: connect again")]
    Gone,
}

/// Creates the server of Socket.IO and its routes.
pub(crate) fn server(game: &Game, filter: Gate) -> (SocketIo, Router) {
    let (service, io) = SocketIo::builder()
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .max_payload(MAX_MESSAGE as u64)
        .ws_max_message_size(MAX_MESSAGE)
        .ws_max_frame_size(MAX_MESSAGE)
        .max_buffer_size(OUTGOING)
        .build_svc();
    let clients = Clients { game: game.clone(), presences: filter.presences.clone(), next: Arc::default() };
    let accepted = game.clone();
    let on_accepted = move |socket: SocketRef| {
        accepted.send(Input::Accepted(socket.id));
        ready(())
    };
    let on_connect = move |socket: SocketRef, auth: TryData<Value>| clients.clone().connect(socket, auth);
    io.ns("/", on_accepted.with(on_connect));
    let routes = Router::new()
        .route_service(PATH, service.clone())
        .route_service(&format!("{PATH}/"), service)
        .layer(middleware::from_fn_with_state(filter, gate::pass));
    (io, routes)
}

/// Connects clients.
#[derive(Clone)]
struct Clients {
    game: Game,
    presences: Presences,
    /// The number of the next connection.
    next: Arc<AtomicU64>,
}

impl Clients {
    /// Waits until the game gives a role to the client, or refuses it. The handlers are there
    /// before the client is: none of its events comes too early.
    async fn connect(self, socket: SocketRef, TryData(auth): TryData<Value>) -> Result<(), Refused> {
        let wanted = wanted_role(&auth.unwrap_or_default())?;
        let connection = Connection(self.next.fetch_add(1, Ordering::Relaxed));
        self.handle(connection, &socket);
        let (decision, decided) = oneshot::channel();
        let presence = self.presences.of(socket.id.as_str(), &socket.req_parts().extensions);
        self.game.send(Input::Connected { connection, wanted, socket, presence, decision });
        decided.await.unwrap_or(Err(Refused::Gone))
    }

    fn handle(&self, connection: Connection, socket: &SocketRef) {
        let game = self.game.clone();
        socket.on(NUMBER, move |data: TryData<Number>, answer: AckSender| number(&game, connection, data, answer));
        socket.on_fallback(async |answer: AckSender| {
            let _ = answer.send(&Answer::refused(&"unknown event: expected number"));
        });
        let game = self.game.clone();
        socket.on_disconnect(move |reason: DisconnectReason| {
            tracing::debug!(connection = connection.0, %reason, "a session has ended");
            game.send(Input::Disconnected(connection));
            ready(())
        });
    }
}

/// Passes a number to the game. Runs before the handler's future is spawned, so that numbers keep
/// their order.
fn number(game: &Game, from: Connection, TryData(data): TryData<Number>, answer: AckSender) -> Ready<()> {
    let number = data.ok().map(|Number { client_id, number }| (client_id, number));
    if let Err(answer) = game.number(from, number, answer) {
        let _ = answer.send(&Answer::refused(&counting_core::Refusal::TooMany));
    }
    ready(())
}
