//! What a client does with hosts that are allowed, and with others.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Redirect;
use axum::routing::{any, get};
use kit_http_client::{Allowlist, Client, Error, Options, Request, Response};

async fn server() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let to = |target: String| get(async move || Redirect::temporary(&target));
    let router = Router::new()
        .route(
            "/echo",
            any(async |method: Method, headers: HeaderMap, body: String| {
                format!("{method} {} {body}", headers.get("x-secret").map_or("-", |value| value.to_str().unwrap()))
            }),
        )
        .route("/long", get(async || "x".repeat(5000)))
        .route("/slow", get(std::future::pending::<StatusCode>))
        .route("/loop", to("/loop".to_owned()))
        .route("/here", to("/echo".to_owned()))
        .route("/localhost", to(format!("http://localhost:{}/echo", address.port())))
        .route("/elsewhere", to("http://metadata.internal/latest".to_owned()))
        .route("/file", to("file:///etc/passwd".to_owned()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn client(allowed: &str, private_addresses: bool) -> Client {
    let allowed: Allowlist = allowed.parse().unwrap();
    let timeout = Duration::from_millis(500);
    Client::new(Options { allowed, private_addresses, timeout, max_answer: 4096, max_redirects: 3 })
}

async fn ask(client: &Client, method: Method, url: &str) -> Result<Response, Error> {
    let headers = HeaderMap::from_iter([("x-secret".parse().unwrap(), "s".parse().unwrap())]);
    client.send(Request { method, url: url.parse().unwrap(), headers, body: b"body".to_vec() }).await
}

#[tokio::test]
async fn who_is_allowed_is_called() {
    let server = server().await;
    let client = client("127.0.0.1,localhost", true);
    let response = ask(&client, Method::POST, &format!("http://{server}/echo")).await.unwrap();
    assert_eq!((response.status, response.body), (StatusCode::OK, b"POST s body".to_vec()));
    let response = ask(&client, Method::GET, &format!("http://{server}/here")).await.unwrap();
    assert_eq!(response.body, b"GET s body");
    // What is meant for one host is not told to another.
    let response = ask(&client, Method::GET, &format!("http://{server}/localhost")).await.unwrap();
    assert_eq!(response.body, b"GET - body");
    let response = ask(&client, Method::GET, &format!("http://{server}/nothing")).await.unwrap();
    assert_eq!(response.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nobody_else_is() {
    let server = server().await;
    let refused = ask(&client("example.com", true), Method::GET, &format!("http://{server}/echo")).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/echo", server.port());
        let refused = ask(&client("127.0.0.1,localhost", false), Method::GET, &url).await;
        assert!(matches!(refused, Err(Error::Private(_))), "{refused:?}");
    }
    for path in ["/elsewhere", "/file"] {
        let refused = ask(&client("127.0.0.1", true), Method::GET, &format!("http://{server}{path}")).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn time_and_size_are_limited() {
    let server = server().await;
    let client = client("127.0.0.1", true);
    let get = async |path: &str| ask(&client, Method::GET, &format!("http://{server}{path}")).await.unwrap_err();
    assert!(matches!(get("/long").await, Error::TooLong(4096)));
    assert!(matches!(get("/slow").await, Error::Timeout(_)));
    assert!(matches!(get("/loop").await, Error::Redirects));
    let nobody = ask(&client, Method::GET, "http://127.0.0.1:1/").await.unwrap_err();
    assert!(matches!(nobody, Error::Connect(_)) && nobody.is_transient(), "{nobody:?}");
}
