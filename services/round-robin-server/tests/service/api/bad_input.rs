//! Invalid requests: each is answered with a 4xx problem, and changes nothing.

use reqwest::Method;
use serde_json::json;

use crate::server::{Backend, JSON, Server, assert_problem};

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let backend = Backend::sqlite("bad").await;
    let server = Server::start(&backend).await;
    server.post("a", 1, "hello").await;
    let before = server.json("/messages?client_id=a").await;

    let mut refused = 0;
    for (what, content_type, body, status) in bodies() {
        let response = server.send(Method::POST, "/messages", Some((content_type, body))).await;
        assert_problem(what, response, status).await;
        refused += 1;
    }
    for (method, path, status) in requests() {
        let response = server.send(method.clone(), path, None).await;
        assert_problem(&format!("{method} {path}"), response, status).await;
        refused += 1;
    }

    assert_eq!(server.json("/messages?client_id=a").await, before);
    assert_eq!(backend.number("SELECT COUNT(*) FROM clients").await, 1);
    println!("{refused} bad requests: {refused} problems with 4xx, 0 with 5xx, 0 changes");
}

fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>, u16)> {
    let text = |body: &str| body.as_bytes().to_vec();
    let with = |client: &str, counter: &str, message: &str| {
        format!(r#"{{"client_id": {client}, "counter": {counter}, "message": {message}}}"#).into_bytes()
    };
    let long = |bytes: usize| json!("x".repeat(bytes)).to_string();
    vec![
        ("no body", JSON, text(""), 400),
        ("not JSON", JSON, text("client_id=a"), 400),
        ("cut off", JSON, text(r#"{"client_id": "b", "counter": 1, "message": "x""#), 400),
        ("something after it", JSON, [with(r#""b""#, "1", r#""x""#), text("{}")].concat(), 400),
        ("broken UTF-8", JSON, b"{\"client_id\": \"\xff\xfe\", \"counter\": 1, \"message\": \"x\"}".to_vec(), 400),
        ("half a character", JSON, with(r#""b""#, "1", r#""\ud800""#), 400),
        ("very deep", JSON, text(&"[".repeat(100_000)), 422),
        ("text", "text/plain", with(r#""b""#, "1", r#""x""#), 415),
        ("a form of parts", "multipart/form-data; boundary=x", text("--x--"), 415),
        ("10 MB", JSON, with(r#""b""#, "1", &long(10_000_000)), 413),
        ("an empty object", JSON, text("{}"), 422),
        ("null", JSON, text("null"), 422),
        ("a list", JSON, text(r#"["b", 1, "x"]"#), 422),
        ("no client", JSON, text(r#"{"counter": 1, "message": "x"}"#), 422),
        ("no counter", JSON, text(r#"{"client_id": "b", "message": "x"}"#), 422),
        ("no message", JSON, text(r#"{"client_id": "b", "counter": 1}"#), 422),
        ("an unknown field", JSON, text(r#"{"client_id": "b", "counter": 1, "message": "x", "epoch": 1}"#), 422),
        ("a field twice", JSON, text(r#"{"client_id": "b", "counter": 1, "counter": 2, "message": "x"}"#), 422),
        ("a client without a name", JSON, with(r#""""#, "1", r#""x""#), 422),
        ("a client with a long name", JSON, with(&long(65), "1", r#""x""#), 422),
        ("a client with a line break", JSON, with(r#""a\nb""#, "1", r#""x""#), 422),
        ("a client with a space at its end", JSON, with(r#""a ""#, "1", r#""x""#), 422),
        ("a client that is a path", JSON, with(r#""..""#, "1", r#""x""#), 422),
        ("a client that is a number", JSON, with("7", "1", r#""x""#), 422),
        ("a client that is null", JSON, with("null", "1", r#""x""#), 422),
        ("a counter as text", JSON, with(r#""b""#, r#""1""#, r#""x""#), 422),
        ("a counter as a fraction", JSON, with(r#""b""#, "1.5", r#""x""#), 422),
        ("a counter below 0", JSON, with(r#""b""#, "-1", r#""x""#), 422),
        ("a counter beyond 2^53", JSON, with(r#""b""#, "9007199254740992", r#""x""#), 422),
        ("a counter beyond 64 bits", JSON, with(r#""b""#, "99999999999999999999", r#""x""#), 422),
        ("a message that is a number", JSON, with(r#""b""#, "1", "7"), 422),
        ("a message that is null", JSON, with(r#""b""#, "1", "null"), 422),
        ("a message that is an object", JSON, with(r#""b""#, "1", "{}"), 422),
        ("a message that is too long", JSON, with(r#""b""#, "1", &long(65_536)), 422),
        ("a message of too many bytes", JSON, with(r#""b""#, "1", &json!("é".repeat(32_768)).to_string()), 422),
        ("an empty form", FORM, text(""), 422),
        ("JSON as a form", FORM, with(r#""b""#, "1", r#""x""#), 422),
        ("a form without a counter", FORM, text("client_id=b&message=x"), 422),
        ("a form with a wrong counter", FORM, text("client_id=b&counter=one&message=x"), 422),
        ("a form with a counter below 0", FORM, text("client_id=b&counter=-1&message=x"), 422),
        ("a form with a counter twice", FORM, text("client_id=b&counter=1&counter=2&message=x"), 422),
        ("a form with another field", FORM, text("client_id=b&counter=1&message=x&epoch=1"), 422),
        ("a form that is not UTF-8", FORM, text("client_id=b&counter=1&message=%ff"), 400),
        ("a form with a control character in the name", FORM, text("client_id=b%0a&counter=1&message=x"), 422),
    ]
}

fn requests() -> Vec<(Method, &'static str, u16)> {
    vec![
        (Method::POST, "/messages", 415),
        (Method::POST, "/messages?wait=1", 400),
        (Method::PUT, "/messages", 405),
        (Method::DELETE, "/messages", 405),
        (Method::POST, "/clients/a", 405),
        (Method::DELETE, "/clients/a", 405),
        (Method::POST, "/turns", 405),
        (Method::GET, "/messages", 400),
        (Method::GET, "/messages?client_id=", 422),
        (Method::GET, "/messages?client_id=a%0a", 422),
        (Method::GET, "/messages?client_id=a&limit=0", 422),
        (Method::GET, "/messages?client_id=a&limit=501", 422),
        (Method::GET, "/messages?client_id=a&limit=-1", 400),
        (Method::GET, "/messages?client_id=a&after=x", 400),
        (Method::GET, "/messages?client_id=a&after=99999999999999999999", 400),
        (Method::GET, "/messages?client_id=a&page=2", 400),
        (Method::GET, "/messages?client_id=a&client_id=b", 400),
        (Method::GET, "/clients/nobody", 404),
        (Method::GET, "/clients/a?x=1", 400),
        (Method::GET, "/clients/a%0ab", 422),
        (Method::GET, "/clients/%ff", 400),
        (Method::GET, "/clients", 404),
        (Method::GET, "/clients/a/messages", 404),
        (Method::GET, "/clients/a/messages/2", 404),
        (Method::GET, "/clients/a/messages/0", 404),
        (Method::GET, "/clients/a/messages/-1", 404),
        (Method::GET, "/clients/a/messages/one", 400),
        (Method::GET, "/clients/a/messages/99999999999999999999", 400),
        (Method::GET, "/clients/nobody/messages/1", 404),
        (Method::GET, "/clients/a/messages/1?x=1", 400),
        (Method::GET, "/turns?limit=0", 422),
        (Method::GET, "/turns?limit=1001", 422),
        (Method::GET, "/turns?before=x", 400),
        (Method::GET, "/turns?after=1", 400),
        (Method::GET, "/events?from=1", 400),
        (Method::GET, "/ws", 400),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/../etc/passwd", 404),
    ]
}

#[tokio::test]
async fn a_problem_names_the_field() {
    let backend = Backend::sqlite("fields").await;
    let server = Server::start(&backend).await;
    for (client, counter, message, field) in [("", 1, "x", "client_id: "), ("a", -1, "x", "counter: ")] {
        let problem = assert_problem(field, server.post(client, counter, message).await, 422).await;
        assert!(problem["detail"].as_str().unwrap().starts_with(field), "{problem}");
    }
    let problem = assert_problem("long", server.post("a", 1, &"x".repeat(65_536)).await, 422).await;
    assert!(problem["detail"].as_str().unwrap().starts_with("message: "), "{problem}");
}
