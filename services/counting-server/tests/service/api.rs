//! The HTTP API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, count};
use crate::server::{Server, assert_problem};

#[tokio::test]
async fn numbers_are_read_page_by_page() {
    let server = Server::after(2_345).await;
    let page = server.json("/numbers?from=2340").await;
    let last = json!({ "number": 2_345, "words": "two thousand, three hundred and forty-five" });
    assert_eq!(page["numbers"].as_array().unwrap().len(), 6);
    assert_eq!((&page["numbers"][5], &page["next"], &page["last_number"]), (&last, &Value::Null, &2_345.into()));

    let (mut from, mut read, mut pages) = (json!(1), 0, 0);
    while !from.is_null() {
        let page = server.json(&format!("/numbers?from={from}&limit=1000")).await;
        for number in page["numbers"].as_array().unwrap() {
            read += 1;
            assert_eq!(number["number"], read);
        }
        pages += 1;
        from = page["next"].clone();
    }
    assert_eq!((read, pages), (2_345, 3));

    let page = server.json("/numbers").await;
    assert_eq!((page["numbers"].as_array().unwrap().len(), &page["next"]), (100, &101.into()));
    assert_eq!(page["numbers"][0], json!({ "number": 1, "words": "one" }));
    // The last page that is full.
    assert_eq!(server.json("/numbers?from=2246").await["next"], Value::Null);
    assert_eq!(server.json("/numbers?from=2245").await["next"], 2_345);
    for from in [2_346, 1_000_000, u64::MAX] {
        let page = server.json(&format!("/numbers?from={from}&limit=1000")).await;
        assert_eq!(page, json!({ "numbers": [], "next": null, "last_number": 2_345 }), "{from}");
    }
}

#[tokio::test]
async fn an_empty_file_has_an_empty_page_and_a_stored_number_is_read_at_once() {
    let server = Server::start().await;
    assert_eq!(server.json("/numbers").await, json!({ "numbers": [], "next": null, "last_number": 0 }));
    let mut clients = Client::pair(server.address).await;
    for number in 1..=5 {
        count(&mut clients, number, number).await;
        let page = server.json(&format!("/numbers?from={number}")).await;
        assert_eq!(page["numbers"][0]["number"], number, "{page}");
    }
}

#[tokio::test]
async fn a_file_that_was_changed_is_not_shown() {
    let server = Server::after(50).await;
    std::fs::write(server.path(), "one\n2\n").unwrap();
    assert_eq!(server.json("/numbers?limit=1").await["numbers"][0]["words"], "one");
    assert_problem("a wrong line", server.get("/numbers").await, 503).await;
    std::fs::remove_file(server.path()).unwrap();
    assert_problem("no file", server.get("/numbers?limit=1").await, 503).await;
}

#[tokio::test]
async fn what_the_api_does_not_know_is_a_problem_document() {
    let server = Server::after(3).await;
    for (method, path, status) in [
        (Method::GET, "/numbers?from=0", 422),
        (Method::GET, "/numbers?limit=0", 422),
        (Method::GET, "/numbers?limit=1001", 422),
        (Method::GET, "/numbers?from=-1", 400),
        (Method::GET, "/numbers?from=one", 400),
        (Method::GET, "/numbers?from=18446744073709551616", 400),
        (Method::GET, "/numbers?from=1&from=2", 400),
        (Method::GET, "/numbers?after=1", 400),
        (Method::GET, "/numbers?%ff", 400),
        (Method::GET, "/health?verbose=1", 400),
        (Method::GET, "/events?since=1", 400),
        (Method::POST, "/numbers", 405),
        (Method::DELETE, "/numbers", 405),
        (Method::PUT, "/health", 405),
        (Method::POST, "/", 405),
        (Method::GET, "/numbers/1", 404),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/numbers.txt", 404),
        (Method::GET, "/static/../numbers.txt", 404),
        (Method::GET, "/socket.io/nothing", 404),
    ] {
        let response = server.request(method.clone(), path).send().await.unwrap();
        assert_problem(&format!("{method} {path}"), response, status).await;
    }
}

#[tokio::test]
async fn health_and_events_show_the_count_as_it_is() {
    let server = Server::after(12).await;
    let expected = json!({
        "status": "ok",
        "error": null,
        "last_number": 12,
        "counting": false,
        "client1": false,
        "client2": false,
    });
    assert_eq!(server.json("/health").await, expected);
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 13, 14).await;
    let snapshot = server.until_snapshot(|snapshot| snapshot["last_number"] == 14).await;
    assert_eq!(snapshot["latest"][0], json!({ "number": 14, "words": "fourteen" }));
    assert_eq!((&snapshot["counting"], &snapshot["waiting"]), (&true.into(), &0.into()));
    for (client, last) in snapshot["clients"].as_array().unwrap().iter().zip([13, 14]) {
        assert_eq!(client["last_number"], last);
        assert!(client["holder"]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{client}");
    }
    let kinds: Vec<_> = snapshot["happenings"].as_array().unwrap().iter().map(|it| it["kind"].clone()).collect();
    assert_eq!(kinds, ["start", "joined", "joined"]);
    let response = server.get("/events").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let page = server.get("/").await.text().await.unwrap();
    assert!(page.contains("fourteen") && page.contains("connected"), "{page}");
}

#[tokio::test]
async fn the_api_describes_itself() {
    let server = Server::start().await;
    let description = server.json("/openapi.json").await;
    for path in ["/numbers", "/health", "/events"] {
        assert!(description["paths"][path]["get"].is_object(), "{path}");
    }
}
