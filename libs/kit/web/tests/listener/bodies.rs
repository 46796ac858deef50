//! Bodies that a client may leave out.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::post;
use kit_web::extract::{NoBody, OptionalJson};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::serve;

/// Sends a request with `headers` and `body` as they are. Returns the response.
async fn send(address: SocketAddr, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn an_empty_body_is_no_body_whatever_its_headers() {
    let optional = async |OptionalJson(value): OptionalJson<Value>| format!("{value:?}");
    let router = Router::new().route("/optional", post(optional)).route("/none", post(async |_: NoBody| "None"));
    let (address, ..) = serve(router).await;
    let types = ["application/json", "application/json; charset=utf-8", "text/plain", "", "nonsense"];
    let types = types.map(|name| format!("Content-Type: {name}\r\n"));
    for content_type in types.iter().map(String::as_str).chain([""]) {
        for (framing, body) in
            [("", ""), ("Content-Length: 0\r\n", ""), ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n")]
        {
            for path in ["/optional", "/none"] {
                let headers = format!("{content_type}{framing}");
                let response = send(address, path, &headers, body).await;
                assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("None"), "{headers}: {response}");
            }
        }
    }
}

#[tokio::test]
async fn an_optional_body_is_checked_if_there_is_one() {
    let optional = async |OptionalJson(value): OptionalJson<Value>| format!("{value:?}");
    let (address, ..) = serve(Router::new().route("/", post(optional))).await;
    let json = "Content-Type: application/json\r\n";
    for (headers, body, status) in [
        (json, "[1]", "200"),
        (json, "null", "200"),
        (json, "{", "400"),
        (json, " ", "400"),
        ("", "[1]", "415"),
        ("Content-Type: text/plain\r\n", "[1]", "415"),
    ] {
        let sized = format!("{headers}Content-Length: {}\r\n", body.len());
        let chunked =
            (format!("{headers}Transfer-Encoding: chunked\r\n"), format!("{}\r\n{body}\r\n0\r\n\r\n", body.len()));
        for (headers, body) in [(sized, body.to_owned()), chunked] {
            let response = send(address, "/", &headers, &body).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{headers}{body}: {response}");
        }
    }
}
