//! Bodies that a client may leave out, and bodies of two kinds.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::post;
use kit_web::extract::{JsonOrForm, NoBody, OptionalJson};
use serde::Deserialize;
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    count: i64,
    text: String,
}

#[tokio::test]
async fn a_form_is_read_like_json() {
    let read = async |JsonOrForm(Message { count, text }): JsonOrForm<Message>| format!("{count} {text}");
    let (address, ..) = serve(Router::new().route("/", post(read))).await;
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    for (content_type, body, end) in [
        (json, r#"{"count": 1, "text": "a b"}"#, "1 a b"),
        ("Application/JSON; charset=utf-8", r#"{"count": 1, "text": "é"}"#, "1 é"),
        (form, "count=-7&text=a+b%20c", "-7 a b c"),
        ("application/x-www-form-urlencoded; charset=UTF-8", "count=7&text=%C3%A9%26%3D", "7 é&="),
        (form, "text=&count=0", "0 "),
        (form, "count=1&text=100%", "1 100%"),
    ] {
        let headers = format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        let response = send(address, "/", &headers, body).await;
        assert!(response.starts_with("HTTP/1.1 200") && response.ends_with(&format!("\r\n\r\n{end}")), "{response}");
    }
    for (content_type, body, status, named) in [
        (form, "", "422", "count"),
        (form, "count=1", "422", "text"),
        (form, "count=one&text=x", "422", "count"),
        (form, "count=99999999999999999999&text=x", "422", "count"),
        (form, "count=1&count=2&text=x", "422", "count"),
        (form, "count=1&text=x&colour=red", "422", "colour"),
        (form, "count=1&text=%ff", "400", "UTF-8"),
        (form, r#"{"count": 1, "text": "x"}"#, "422", "count"),
        (json, "count=1&text=x", "400", "JSON"),
        (json, r#" [1, "x"]"#, "422", "object"),
        ("text/plain", "count=1&text=x", "415", "form"),
        ("", "count=1&text=x", "415", "form"),
    ] {
        let headers = format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        let response = send(address, "/", &headers, body).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{content_type} {body}: {response}");
        assert!(response.contains("application/problem+json") && response.contains(named), "{body}: {response}");
    }
}
