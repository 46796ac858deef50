//! The beginning of a connection.

use std::time::Duration;

use kit_web::websocket::Socket;
use round_robin_core::tables::{Connected, Hello, Resume};
use round_robin_core::types::{ClientRow, Epoch, MAX_COUNTER};
use round_robin_protocol::{ClientFrame, Position, ServerFrame};
use round_robin_store::Error;

use super::{End, Sockets, frames};
use crate::answers::Follower;

/// A connection whose `hello` was answered.
pub(super) struct Began {
    pub(super) connected: Connected,
    pub(super) follower: Follower,
}

/// Receives `hello`, which fences older connections of the client, and answers it.
pub(super) async fn receive(socket: &mut Socket, sockets: &Sockets) -> Result<Began, End> {
    let hello = first_frame(socket, sockets.hello_timeout).await?;
    // Before the client is connected, so that no news is missed.
    let follower = sockets.answers.follow(&hello.client);
    let (connected, ahead) = connect(sockets, &hello).await.map_err(|error| unavailable(&error, sockets))?;
    // Older connections at this replica end at once.
    sockets.answers.learned(&connected.client);
    if let Resume::Lost { from, reason } = connected.resume {
        sockets.metrics.lost.inc();
        tracing::warn!(client_id = %hello.client, from, ?reason, "a client cannot continue where it asked for");
    }
    socket.send(frames::encode(&answer(&connected, ahead))).await?;
    Ok(Began { connected, follower })
}

async fn first_frame(socket: &mut Socket, timeout: Duration) -> Result<Hello, End> {
    let broken = |reason: &str| End::Broken(reason.to_owned());
    let message = tokio::time::timeout(timeout, socket.recv()).await.map_err(|_| broken("no hello arrived in time"))?;
    let ClientFrame::Hello { client_id, epoch, last_served } = frames::decode(&message.ok_or(End::Gone)?)? else {
        return Err(broken("the first frame must be hello"));
    };
    if epoch.is_some_and(|Epoch(epoch)| !(0..=MAX_COUNTER).contains(&epoch)) {
        return Err(broken("hello: epoch is out of range"));
    }
    if last_served.is_some_and(|counter| !(-1..=MAX_COUNTER).contains(&counter)) {
        return Err(broken("hello: last_served is out of range"));
    }
    Ok(Hello { client: client_id, epoch, last_served })
}

/// Connects the client. Also returns the counters that are stored above the first missing one.
async fn connect(sockets: &Sockets, hello: &Hello) -> Result<(Connected, Vec<i64>), Error> {
    let connected = sockets.store.connect(hello).await?;
    let ahead = ahead(sockets, &connected.client).await?;
    Ok((connected, ahead))
}

/// The counters of a client that are stored above the first missing one.
pub(super) async fn ahead(sockets: &Sockets, row: &ClientRow) -> Result<Vec<i64>, Error> {
    if row.last_received < row.missing {
        return Ok(Vec::new());
    }
    sockets.store.above(&row.id, row.missing).await
}

fn answer(connected: &Connected, ahead: Vec<i64>) -> ServerFrame {
    let position = position(&connected.client, connected.resume.from(), ahead);
    match connected.resume {
        Resume::From(_) => ServerFrame::Resumed(position),
        Resume::Lost { reason, .. } => ServerFrame::Lost { reason: frames::lost_reason(reason), position },
    }
}

/// The position of a client to which every answer from `from` on follows.
pub(super) fn position(row: &ClientRow, from: i64, ahead: Vec<i64>) -> Position {
    Position { epoch: row.epoch, from, last_served: row.last_served(), first_missing: row.missing, ahead }
}

/// The end of a connection that the database does not allow to begin.
pub(super) fn unavailable(error: &Error, sockets: &Sockets) -> End {
    sockets.metrics.store_errors.inc();
    if error.is_transient() {
        tracing::debug!(%error, "a client cannot connect");
        End::Again("the database does not answer at the moment")
    } else {
        tracing::error!(%error, "a client cannot connect");
        End::Again("the service failed; its log says why")
    }
}
