//! Adding, listing and removing ids.

use serde_json::{Value, json};

use crate::server::Server;

#[tokio::test]
async fn ids_are_added_by_number_or_by_name_listed_in_pages_and_removed() {
    let server = Server::start().await;
    let response = server.post(r#"{"count": 3}"#).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "created": 3, "ids": [1, 2, 3] }));
    let response = server.post(r#"{"values": [{"id": 10, "value": -5}, {"id": 7}]}"#).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "created": 2, "ids": [10, 7] }));

    let first = server.json("/values?limit=3").await;
    assert_eq!(ids(&first), [1, 2, 3]);
    assert_eq!(first["next"], 3);
    let second = server.json("/values?limit=3&after=3").await;
    assert_eq!(ids(&second), [7, 10]);
    assert_eq!(second["next"], Value::Null);

    let row = server.json("/values/10").await;
    assert_eq!((&row["value"], &row["initial_value"], &row["owner"]), (&json!(-5), &json!(-5), &Value::Null));
    assert_eq!(row["first_tick"], row["last_tick"]);

    assert_eq!(server.delete("/values/7").await.status(), 204);
    assert_eq!(server.delete("/values/7").await.status(), 404);
    assert_eq!(server.get("/values/7").await.status(), 404);
    let removed: Value = server.delete("/values?count=2").await.json().await.unwrap();
    assert_eq!(removed, json!({ "removed": 2, "ids": [3, 10] }), "the largest go first");
    let removed: Value = server.delete("/values?count=100").await.json().await.unwrap();
    assert_eq!(removed, json!({ "removed": 2, "ids": [1, 2] }));
}

#[tokio::test]
async fn ids_that_exist_are_named_and_nothing_is_added() {
    let server = Server::start().await;
    server.post(r#"{"values": [{"id": 5}]}"#).await;
    let response = server.post(r#"{"values": [{"id": 4}, {"id": 5}]}"#).await;
    assert_eq!(response.status(), 409);
    assert!(response.json::<Value>().await.unwrap()["detail"].as_str().unwrap().contains("[5]"));
    assert_eq!(ids(&server.json("/values").await), [5]);
}

#[tokio::test]
async fn new_ids_end_at_the_documented_limit() {
    const MAX: i64 = 9_007_199_254_740_991;
    let server = Server::start().await;
    server.post(&json!({ "values": [{ "id": MAX - 1 }] }).to_string()).await;
    let response = server.post(r#"{"count": 2}"#).await;
    assert_eq!(response.status(), 409);
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains(&MAX.to_string()), "{problem}");
    assert_eq!(ids(&server.json("/values").await), [MAX - 1], "nothing was added");
    let response: Value = server.post(r#"{"count": 1}"#).await.json().await.unwrap();
    assert_eq!(response["ids"], json!([MAX]));
    assert_eq!(server.post(r#"{"count": 1}"#).await.status(), 409);
    server.delete("/values?count=2").await;
    let response: Value = server.post(r#"{"count": 2}"#).await.json().await.unwrap();
    assert_eq!(response["ids"], json!([1, 2]));
}

#[tokio::test]
async fn a_list_can_be_narrowed_to_a_worker() {
    let server = Server::start().await;
    server.post(r#"{"count": 4}"#).await;
    let worker = server.store.register("a worker", 20).await.unwrap();
    let term = server.store.campaign("test").await.unwrap().won.unwrap();
    let transfer = values_core::assignment::Transfer { from: None, to: worker.incarnation, count: 2 };
    server.store.assign(term, &[transfer]).await.unwrap();

    assert_eq!(ids(&server.json(&format!("/values?worker={}", worker.incarnation)).await), [1, 2]);
    assert_eq!(ids(&server.json("/values?worker=a%20worker").await), [1, 2]);
    assert_eq!(server.get("/values?worker=nobody").await.status(), 404);
    let workers = server.json("/workers").await;
    assert_eq!((&workers["ids"], &workers["waiting"]), (&json!(4), &json!(2)));
    assert_eq!((&workers["workers"][0]["name"], &workers["workers"][0]["load"]), (&json!("a worker"), &json!(2)));
}

#[tokio::test]
async fn a_hundred_thousand_ids_are_one_request() {
    let server = Server::start().await;
    let response: Value = server.post(r#"{"count": 100000}"#).await.json().await.unwrap();
    assert_eq!(response["created"], 100_000);
    assert_eq!(server.json("/workers").await["ids"], 100_000);
    let response: Value = server.delete("/values?count=100000").await.json().await.unwrap();
    assert_eq!(response["removed"], 100_000);
}

#[tokio::test]
async fn the_description_covers_every_path() {
    let server = Server::start().await;
    let api = server.json("/openapi.json").await;
    let paths: Vec<&String> = api["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/events", "/values", "/values/{id}", "/workers"]);
    assert_eq!(api["info"]["title"], "values-api");
    assert!(api["components"]["schemas"]["Problem"].is_object());
}

fn ids(page: &Value) -> Vec<i64> {
    page["values"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}
