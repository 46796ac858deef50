//! `POST /messages`.

use std::time::Duration;

use futures_util::future::join_all;
use kit_process::HumanDuration;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{SqlBackend, on_every_backend};

use crate::server::{Backend, LONG, Server, assert_problem, config, hold, release};

on_every_backend!(
    a_message_is_answered_when_it_was_served,
    the_same_again_gets_the_same_answer_and_another_text_is_a_conflict,
    messages_wait_for_those_before_them,
    a_counter_beyond_the_window_is_refused_with_the_expected_one,
    a_client_that_does_not_wait_reads_its_answer_later,
    any_text_is_kept_as_it_is,
);

async fn a_message_is_answered_when_it_was_served(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let response = server.post("a", 1, "hello").await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    let (received, answered) = (answer["received_at_ms"].as_i64().unwrap(), answer["served_at_ms"].as_i64().unwrap());
    assert!(received > 1_600_000_000_000 && answered >= received, "{answer}");
    let expected = json!({
        "client_id": "a", "counter": 1, "message": "hello", "replica": "alone",
        "received_at_ms": received, "served_at_ms": answered,
    });
    assert_eq!(answer, expected);
    assert_eq!(server.json("/clients/a/messages/1").await, expected);
    let sql = format!(
        "SELECT COUNT(*) FROM messages WHERE client_id = 'a' AND counter = 1 AND message = 'hello' \
         AND replica = 'alone' AND received_at = {received} AND served_at = {answered}"
    );
    assert_eq!(backend.number(&sql).await, 1, "a person finds it in the database");
}

async fn the_same_again_gets_the_same_answer_and_another_text_is_a_conflict(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let first: Value = server.post("a", 1, "hello").await.json().await.unwrap();
    for again in join_all((0..10).map(|_| server.post("a", 1, "hello"))).await {
        assert_eq!(again.json::<Value>().await.unwrap(), first);
    }
    for other in ["Hello", "hello ", "", "hellö"] {
        let problem = assert_problem(other, server.post("a", 1, other).await, 409).await;
        assert_eq!(problem.get("expected"), None);
    }
    assert_eq!(server.json("/messages?client_id=a").await["messages"], json!([first]));
    // The first may be 0, and only the first.
    assert_eq!(server.post("b", 0, "zero").await.status(), StatusCode::OK);
    assert_eq!(server.post("b", 1, "one").await.status(), StatusCode::OK);
    assert_problem("0 after 1", server.post("a", 0, "zero").await, 410).await;
}

async fn messages_wait_for_those_before_them(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    for counter in [3, 2] {
        let response = server.post_async("a", counter, "early").await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
    let client = server.json("/clients/a").await;
    let expected = json!({
        "client_id": "a", "epoch": 0, "last_received": 3, "last_served": null, "waiting": 2, "first_missing": 1,
        "acknowledged": null,
    });
    assert_eq!(client, expected);
    let (third, first) = tokio::join!(server.post("a", 3, "early"), server.post("a", 1, "late"));
    assert_eq!((first.status(), third.status()), (StatusCode::OK, StatusCode::OK));
    let page = server.json("/messages?client_id=a").await;
    let times: Vec<i64> =
        page["messages"].as_array().unwrap().iter().map(|row| row["served_at_ms"].as_i64().unwrap()).collect();
    assert!(times.len() == 3 && times.is_sorted(), "{page}");
    let client = server.json("/clients/a").await;
    assert_eq!(
        (&client["last_served"], &client["waiting"], &client["first_missing"]),
        (&3.into(), &0.into(), &4.into())
    );
}

async fn a_counter_beyond_the_window_is_refused_with_the_expected_one(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    assert_eq!(server.post("a", 1, "first").await.status(), StatusCode::OK);
    assert_eq!(server.post_async("a", 1002, "at the end of the window").await.status(), StatusCode::ACCEPTED);
    for counter in [1003, 9_007_199_254_740_991] {
        let problem = assert_problem("beyond", server.post("a", counter, "beyond").await, 409).await;
        assert_eq!(problem["expected"], 2);
    }
    assert_eq!(server.json("/clients/a").await["waiting"], 1, "nothing else was stored");
}

async fn a_client_that_does_not_wait_reads_its_answer_later(backend: SqlBackend) {
    hold(&backend).await;
    let patient = config("patient", LONG);
    let impatient = kit_process::HumanDuration(Duration::from_millis(50));
    let server = Server::with(&backend, round_robin_server::Config { answer_within: impatient, ..patient }).await;
    let name = "a b/ü?%";
    for is_async in [true, false] {
        let response =
            if is_async { server.post_async(name, 1, "hello").await } else { server.post(name, 1, "hello").await };
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()["location"], "/clients/a%20b%2F%C3%BC%3F%25/messages/1");
        let applied = response.headers().get("preference-applied").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(applied.as_deref(), is_async.then_some("respond-async"));
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let document: Value = response.json().await.unwrap();
        assert_eq!((&document["replica"], &document["served_at_ms"]), (&Value::Null, &Value::Null));
        assert_eq!(server.json(&location).await, document);
    }
    release(&backend).await;
    let answer = server.until("/clients/a%20b%2F%C3%BC%3F%25/messages/1", |row| !row["replica"].is_null()).await;
    assert_eq!((&answer["client_id"], &answer["replica"]), (&name.into(), &"patient".into()));
    let again = server.post_async(name, 1, "hello").await;
    assert_eq!(again.status(), StatusCode::OK, "the answer is there");
    assert_eq!(again.json::<Value>().await.unwrap(), answer);
}

async fn any_text_is_kept_as_it_is(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    let long = "é".repeat(65_535 / 2);
    let texts =
        ["", " ", "trailing ", "\0\u{1}\n\r\t", "'; DROP TABLE messages; --", "日本語 😀 \u{10ffff}", "\\'\"%_", &long];
    for (counter, text) in (1..).zip(texts) {
        let response = server.post("texts", counter, text).await;
        assert_eq!(response.status(), StatusCode::OK, "{text:?}");
        assert_eq!(response.json::<Value>().await.unwrap()["message"], text);
        assert_eq!(server.json(&format!("/clients/texts/messages/{counter}")).await["message"], text);
    }
    // Names that a careless collation would not tell apart.
    for name in ["É", "é", "e", "E", "ſ", "s", "\u{212b}", "å"] {
        assert_eq!(server.post(name, 1, name).await.status(), StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn a_form_is_taken_like_json() {
    let backend = Backend::sqlite("form").await;
    let server = Server::start(&backend).await;
    let form = "application/x-www-form-urlencoded";
    let send = async |body: &str| server.send(Method::POST, "/messages", Some((form, body.into()))).await;
    let response = send("client_id=flask+client&counter=1&message=It%27s+me%2C+%C3%A9").await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    assert_eq!((&answer["client_id"], &answer["message"]), (&"flask client".into(), &"It's me, é".into()));
    let again: Value = server.post("flask client", 1, "It's me, é").await.json().await.unwrap();
    assert_eq!(again, answer, "the same message as JSON");
}

#[tokio::test]
async fn waiting_ends_soon_when_the_service_ends() {
    let backend = Backend::sqlite("drain").await;
    hold(&backend).await;
    let server = Server::with(&backend, config("ends", LONG)).await;
    let request = tokio::spawn(server.message("a", 1, "hello").send());
    server.until("/clients/a", |client| client["waiting"] == 1).await;
    server.shutdown.drain();
    let response = request.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED, "it is stored, and another replica serves it");
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_is_cut_off_is_stored_once() {
    let backend = Backend::sqlite("cut").await;
    hold(&backend).await;
    let server = Server::with(&backend, config("cut", LONG)).await;
    let request = tokio::spawn(server.message("a", 1, "hello").send());
    server.until("/clients/a", |client| client["waiting"] == 1).await;
    request.abort();
    release(&backend).await;
    let answer: Value = server.post("a", 1, "hello").await.json().await.unwrap();
    assert_eq!(answer["replica"], "cut");
    assert_eq!(backend.number("SELECT COUNT(*) FROM messages").await, 1);
}

/// Without this, the test of the drain would wait for longer than its own deadline.
#[test]
fn a_request_waits_for_ten_seconds_by_default() {
    use clap::Parser;
    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        config: round_robin_server::Config,
    }
    let config = Cli::parse_from(["test"]).config;
    assert_eq!(config.answer_within, HumanDuration(Duration::from_secs(10)));
}
