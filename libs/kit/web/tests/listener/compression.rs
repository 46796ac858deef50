//! Compression: which responses are compressed, and for which clients.

use std::convert::Infallible;
use std::io::Read;

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use axum::{Json, Router};
use flate2::read::GzDecoder;
use futures_util::stream;
use http_body_util::BodyExt;
use kit_web::http::{Limits, compression, harden};
use kit_web::page;
use tower::ServiceExt;

fn list(length: usize) -> Json<Vec<usize>> {
    Json((0..length).collect())
}

async fn ask(path: &str, accepted: Option<&str>) -> (HeaderMap, Vec<u8>) {
    let events = || Sse::new(stream::iter((0..1000).map(|_| Ok::<_, Infallible>(Event::default().data("an event")))));
    let router = page::files(&[]).merge(
        Router::new()
            .route("/long", get(async || list(2000)))
            .route("/short", get(async || list(10)))
            .route("/events", get(async move || events())),
    );
    let router = harden(router.layer(compression()), &Limits::default(), None);
    let request = Request::get(path);
    let request = match accepted {
        Some(accepted) => request.header(header::ACCEPT_ENCODING, accepted),
        None => request,
    };
    let (head, body) = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    (head.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn long_lists_are_compressed_for_clients_that_accept_gzip() {
    let (headers, plain) = ask("/long", None).await;
    assert!(headers.get("content-encoding").is_none());
    assert_eq!(headers["vary"], "accept-encoding", "a cache must not give this to clients that accept gzip only");

    let (headers, compressed) = ask("/long", Some("br, gzip")).await;
    assert_eq!(
        (&headers["content-encoding"], &headers["vary"]),
        (&"gzip".parse().unwrap(), &"accept-encoding".parse().unwrap())
    );
    assert!(compressed.len() * 2 < plain.len(), "{} of {}", compressed.len(), plain.len());
    let mut text = Vec::new();
    GzDecoder::new(&*compressed).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain);
}

#[tokio::test]
async fn short_responses_and_event_streams_are_not_compressed() {
    for path in ["/short", "/events"] {
        let (headers, plain) = ask(path, Some("gzip")).await;
        assert!(headers.get("content-encoding").is_none() && headers.get("vary").is_none(), "{path}: {headers:?}");
        assert_eq!(plain, ask(path, None).await.1);
    }
}

#[tokio::test]
async fn files_that_are_compressed_already_are_not_compressed_again() {
    let (headers, compressed) = ask(page::STYLE.path, Some("gzip")).await;
    assert_eq!(headers.get_all("content-encoding").iter().collect::<Vec<_>>(), ["gzip"]);
    let mut text = String::new();
    GzDecoder::new(&*compressed).read_to_string(&mut text).unwrap();
    assert_eq!(text, page::STYLE.content);
}
