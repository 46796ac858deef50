//! Server-Sent Events: `text/event-stream` responses.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;

/// Milliseconds after which a client reconnects. Each stream has a random delay, so that
/// the clients of a replica that stops do not all reconnect at once.
const RETRY_MS: RangeInclusive<u64> = 1_000..=4_000;

/// Longest silence on a stream. Then a comment is sent, which keeps proxies from closing
/// the connection, and fails if the client has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Without this header, proxies such as nginx buffer a response before they forward it.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Formats an event in the wire format, with `data` as JSON.
///
/// # Panics
/// If `data` cannot be written as JSON, such as a map whose keys are not strings.
#[must_use]
pub fn json(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("data of events is plain");
    event(name, &data)
}

/// Formats an event in the wire format. `data` is a single line.
pub(crate) fn event(name: &str, data: &str) -> Bytes {
    debug_assert!(!data.contains(['\r', '\n']), "JSON and sentences have no line breaks");
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// Creates a response that sends `events`, which are in the wire format, and then ends.
pub fn response(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let retry = Bytes::from(format!("retry: {}\n\n", fastrand::u64(RETRY_MS)));
    let body = stream::once(async { retry }).chain(kept_alive(events)).map(Ok::<_, Infallible>);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        UNBUFFERED,
    ];
    (headers, Body::from_stream(body)).into_response()
}

fn kept_alive(events: impl Stream<Item = Bytes> + Send + 'static) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold(Box::pin(events), async |mut events| match tokio::time::timeout(KEEP_ALIVE, events.next()).await {
        Ok(event) => Some((event?, events)),
        Err(_) => Some((COMMENT, events)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http_body_util::BodyExt;

    use super::*;

    /// The next part of `body`; `None` at its end.
    async fn part(body: &mut Body) -> Option<String> {
        let frame = body.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_begins_at_once_carries_comments_and_loses_no_event() {
        let events = stream::once(async {
            tokio::time::sleep(KEEP_ALIVE * 5 / 2).await;
            json("state", &[1, 2])
        });
        let response = response(events);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert_eq!(response.headers()["x-accel-buffering"], "no", "nginx forwards each event");
        let mut body = response.into_body();
        let began = tokio::time::Instant::now();
        assert!(part(&mut body).await.unwrap().starts_with("retry: "));
        assert_eq!(began.elapsed(), Duration::ZERO, "proxies and clients see at once that the stream is open");
        for expected in [":\n\n", ":\n\n", "event: state\ndata: [1,2]\n\n"] {
            assert_eq!(part(&mut body).await.unwrap(), expected);
        }
        assert_eq!(part(&mut body).await, None);
    }

    #[tokio::test]
    async fn clients_are_asked_to_reconnect_at_different_times() {
        let mut delays = BTreeSet::new();
        for _ in 0..50 {
            let text = part(&mut response(stream::empty()).into_body()).await.unwrap();
            let delay: u64 = text.trim().strip_prefix("retry: ").unwrap().parse().unwrap();
            assert!(RETRY_MS.contains(&delay), "{delay}");
            delays.insert(delay);
        }
        assert!(delays.len() > 25, "{delays:?}");
    }
}
