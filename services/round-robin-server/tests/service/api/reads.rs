//! Reading clients, messages and turns; the page; the description.

use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{SqlBackend, eventually, on_every_backend};

use crate::server::{Backend, SHORT, SOON, Server};

on_every_backend!(messages_are_listed_in_pages, turns_are_listed_in_pages);

fn counters(page: &Value) -> Vec<i64> {
    page["messages"].as_array().unwrap().iter().map(|row| row["counter"].as_i64().unwrap()).collect()
}

async fn messages_are_listed_in_pages(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    for counter in 0..7 {
        assert_eq!(server.post("a", counter, &format!("message {counter}")).await.status(), StatusCode::OK);
    }
    server.post("b", 1, "of another client").await;
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.json(&format!("/messages?client_id=a&limit=3{after}")).await;
        all.extend(counters(&page));
        let Some(next) = page["next"].as_i64() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(counters(&server.json("/messages?client_id=a&after=-1&limit=1").await), [0]);
    assert_eq!(server.json("/messages?client_id=nobody").await, json!({ "messages": [], "next": null }));
}

async fn turns_are_listed_in_pages(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    server.post("a", 1, "hello").await;
    let page = server.until("/turns?limit=3", |page| page["next"].is_i64()).await;
    let turns = page["turns"].as_array().unwrap();
    assert_eq!(turns.len(), 3);
    for turn in turns {
        let began = turn["turn"].as_i64().unwrap() * SHORT.as_millis();
        assert_eq!((&turn["replica"], &turn["began_at_ms"]), (&"alone".into(), &began.into()));
    }
    let numbers = |page: &Value| -> Vec<i64> {
        page["turns"].as_array().unwrap().iter().map(|turn| turn["turn"].as_i64().unwrap()).collect()
    };
    assert!(numbers(&page).is_sorted_by(|one, other| one > other), "newest first");
    let next = page["next"].as_i64().unwrap();
    assert_eq!(numbers(&page).last(), Some(&next));
    let rest = server.json(&format!("/turns?limit=1000&before={next}")).await;
    assert!(numbers(&rest).iter().all(|turn| *turn < next), "{rest}");
    let count: i64 = [&page, &rest]
        .iter()
        .flat_map(|page| page["turns"].as_array().unwrap())
        .map(|turn| turn["served"].as_i64().unwrap())
        .sum();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn the_page_shows_what_was_served_and_escapes_it() {
    let backend = Backend::sqlite("page").await;
    let server = Server::start(&backend).await;
    server.post("<b>client</b>", 1, "<script>alert(1)</script>").await;
    let page = eventually(SOON, "the replica that serves", async || {
        let page = server.get("/").await.error_for_status().unwrap().text().await.unwrap();
        page.contains("id=\"serving\">alone").then_some(page)
    })
    .await;
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert"), "{page}");
    assert!(page.contains("&lt;b&gt;client") && !page.contains("<b>client"), "{page}");
}

#[tokio::test]
async fn the_description_covers_every_path() {
    let backend = Backend::sqlite("description").await;
    let server = Server::start(&backend).await;
    let api = server.json("/openapi.json").await;
    let paths: Vec<&String> = api["paths"].as_object().unwrap().keys().collect();
    let expected = ["/clients/{id}", "/clients/{id}/messages/{counter}", "/events", "/messages", "/turns", "/ws"];
    assert_eq!(paths, expected);
    let methods: Vec<&String> = api["paths"]["/messages"].as_object().unwrap().keys().collect();
    assert_eq!(methods, ["get", "post"]);
    let bodies: Vec<&String> =
        api["paths"]["/messages"]["post"]["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(bodies, ["application/json", "application/x-www-form-urlencoded"]);
}
