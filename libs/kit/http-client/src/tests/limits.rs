//! Limits on time and size, and failures.

use std::time::Duration;

use http::StatusCode;

use super::server::zeros;
use super::{Dns, PUBLIC, Server, check, client, client_with, get, options};
use crate::{Client, Error, Options};

fn impatient() -> Client {
    let options = Options { timeout: Duration::from_millis(300), ..options("127.0.0.1") };
    client_with(options, &Dns::default(), check)
}

#[tokio::test]
async fn a_response_may_have_the_maximal_length() {
    let server = Server::start().await;
    let client = client("127.0.0.1", &Dns::default());
    let response = get(&client, &server.url(PUBLIC, "/bytes?4096")).await.unwrap();
    assert_eq!(response.body.len(), 4096);
    for path in ["/bytes?4097", "/huge", "/endless"] {
        let error = get(&client, &server.url(PUBLIC, path)).await.unwrap_err();
        assert!(matches!(error, Error::ResponseTooLong(4096)) && !error.is_transient(), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn a_response_that_takes_too_long_is_an_error() {
    let server = Server::start().await;
    for path in ["/silent", "/stalled"] {
        let error = get(&impatient(), &server.url(PUBLIC, path)).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && error.is_transient(), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn a_response_is_not_decompressed() {
    let server = Server::start().await;
    let client = client("127.0.0.1", &Dns::default());
    let response = get(&client, &server.url(PUBLIC, "/gzip")).await.unwrap();
    assert!(response.body == zeros() && response.headers["content-encoding"] == "gzip", "{:?}", response.headers);
}

#[tokio::test]
async fn an_error_status_is_a_response() {
    let server = Server::start().await;
    let client = client("127.0.0.1", &Dns::default());
    let response = get(&client, &server.url(PUBLIC, "/nothing")).await.unwrap();
    assert_eq!(response.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_failure_to_connect_is_transient_and_does_not_show_the_url() {
    let dns = Dns::default();
    let client = client("127.0.0.1,unknown.test", &dns);
    for (url, reason) in [("http://127.0.0.1:1/?secret", "refused"), ("http://unknown.test/?secret", "no such name")] {
        let error = get(&client, url).await.unwrap_err();
        assert!(matches!(error, Error::Connect(_)) && error.is_transient(), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(reason) && !message.contains("secret"), "{message}");
    }
}
