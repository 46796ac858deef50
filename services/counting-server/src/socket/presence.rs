//! Shows whether the client of a connection still sends anything.
//!
//! socketioxide answers for pings only by ending a connection long after its client has fallen
//! silent. A client that waits for a role needs to know earlier whether the holders are there: the
//! server pings every second, so the bytes that it receives show that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Extensions, Request};
use kit_web::http::Connection;

/// Time for which a session is known whose client has not asked for a role: it has to do so in
/// this time.
const UNUSED: Duration = Duration::from_secs(20);

/// Time without a byte after which a WebSocket is cut, whether its client has a role or not. All
/// clients answer pings. Engine.IO waits for ever until a client accepts bytes.
const DEAD: Duration = Duration::from_secs(10);

/// The sessions of Engine.IO, and their WebSockets. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presences(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<String, Arc<Presence>>,
    /// The WebSockets, and for a while those that have ended.
    sockets: Vec<Connection>,
}

/// One session. It may have several connections at a time, and others one after the other.
#[derive(Debug)]
pub(crate) struct Presence(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    /// Time of the last request.
    request_at: Instant,
    /// The WebSocket, if the session has one.
    socket: Option<Connection>,
}

impl Presences {
    /// Records a request, whose query names the session unless the request begins one. A session
    /// may get its WebSocket before its client asks for a role.
    pub(crate) fn record<B>(&self, request: &Request<B>) {
        let socket = Connection::of(request.extensions());
        lock(&self.0).sockets.extend(socket.clone());
        let Some(session) = request.uri().query().and_then(session) else { return };
        let presence = match &socket {
            Some(_) => self.of(session, request.extensions()),
            None => match lock(&self.0).sessions.get(session) {
                Some(presence) => Arc::clone(presence),
                None => return,
            },
        };
        let mut seen = lock(&presence.0);
        seen.request_at = Instant::now();
        if socket.is_some() {
            seen.socket = socket;
        }
    }

    /// Cuts the WebSockets of clients that are gone.
    pub(crate) fn sweep(&self) {
        for socket in lock(&self.0).sockets.extract_if(.., |socket| socket.silence() >= DEAD) {
            socket.cut();
        }
    }

    /// Cuts all WebSockets: the server ends.
    pub(crate) fn cut(&self) {
        lock(&self.0).sockets.drain(..).for_each(|socket| socket.cut());
    }

    /// The presence of a session, which began with the request that has these extensions.
    pub(crate) fn of(&self, session: &str, extensions: &Extensions) -> Arc<Presence> {
        let known = &mut lock(&self.0).sessions;
        if let Some(presence) = known.get(session) {
            return Arc::clone(presence);
        }
        known.retain(|_, presence| Arc::strong_count(presence) > 1 || presence.silence() < UNUSED);
        let seen = Seen { request_at: Instant::now(), socket: Connection::of(extensions) };
        let presence = Arc::new(Presence(Mutex::new(seen)));
        known.insert(session.to_owned(), Arc::clone(&presence));
        presence
    }
}

impl Presence {
    /// Time since the client last sent anything.
    pub(crate) fn silence(&self) -> Duration {
        let seen = lock(&self.0);
        let since_request = seen.request_at.elapsed();
        seen.socket.as_ref().map_or(since_request, |socket| socket.silence().min(since_request))
    }

    /// Ends the WebSocket at once. A session without one ends by itself.
    pub(crate) fn cut(&self) {
        if let Some(socket) = &lock(&self.0).socket {
            socket.cut();
        }
    }
}

fn session(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("sid="))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_the_session_ends_the_silence() {
        let presences = Presences::default();
        let presence = presences.of("one", &Extensions::new());
        lock(&presence.0).request_at = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        for query in ["sid=other", "x=sid=one", ""] {
            presences.record(&Request::get(format!("/socket.io/?EIO=4&{query}")).body(()).unwrap());
            assert!(presence.silence() >= Duration::from_secs(9), "{query}");
        }
        presences.record(&Request::get("/socket.io/?EIO=4&sid=one&transport=polling").body(()).unwrap());
        assert!(presence.silence() < Duration::from_secs(9));
    }

    #[test]
    fn sessions_that_have_ended_are_forgotten() {
        let presences = Presences::default();
        let long_ago = Instant::now().checked_sub(UNUSED).unwrap();
        let held = presences.of("held", &Extensions::new());
        lock(&held.0).request_at = long_ago;
        lock(&presences.of("ended", &Extensions::new()).0).request_at = long_ago;
        drop(presences.of("begun", &Extensions::new()));
        let known: Vec<_> = lock(&presences.0).sessions.keys().cloned().collect();
        assert_eq!(known.len(), 2, "{known:?}");
        assert!(!known.contains(&"ended".to_owned()));
    }
}
