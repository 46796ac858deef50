//! Requests that the database refuses, through the fault of the client or of an operator.

use std::time::Duration;

use futures_util::future::join_all;
use kit_database::Database;
use kit_database::sqlx::raw_sql;
use reqwest::StatusCode;
use testkit::{SqlBackend, eventually, on_every_backend};

use crate::server::{Backend, SHORT, SOON, Server, assert_problem};

on_every_backend!(
    a_message_that_breaks_a_constraint_fails_alone,
    a_defect_of_the_schema_is_no_fault_of_the_client,
    a_client_that_cannot_be_served_holds_up_no_other,
);

/// Makes the database refuse rows of `table` whose `column` contains "poison".
async fn refuse_poison(backend: &SqlBackend, event: &str, table: &str, column: &str) {
    let sql = match backend.database() {
        Database::MySql(_) => format!(
            "CREATE TRIGGER no_poison BEFORE {event} ON {table} FOR EACH ROW \
             BEGIN IF NEW.{column} LIKE '%poison%' THEN SIGNAL SQLSTATE '45000'; END IF; END"
        ),
        Database::Sqlite(_) => format!(
            "CREATE TRIGGER no_poison BEFORE {event} ON {table} WHEN NEW.{column} LIKE '%poison%' \
             BEGIN SELECT RAISE(ABORT, 'poison'); END"
        ),
    };
    backend.sql(&sql).await.unwrap();
}

async fn a_message_that_breaks_a_constraint_fails_alone(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    refuse_poison(&backend, "INSERT", "received_messages", "message").await;
    // So many requests at once share commits.
    let send = async |n: i64| {
        let text = if n % 30 == 7 { "poison" } else { "fine" };
        server.post_async(&format!("client {n}"), 1, text).await
    };
    for (n, response) in join_all((0..120).map(send)).await.into_iter().enumerate() {
        if n % 30 == 7 {
            let problem = assert_problem(&format!("message {n}"), response, 422).await;
            assert!(problem["detail"].as_str().unwrap().starts_with("message: "), "{problem}");
        } else {
            assert!(response.status().is_success(), "message {n}");
        }
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM messages").await, 116);
}

async fn a_defect_of_the_schema_is_no_fault_of_the_client(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    backend.sql("ALTER TABLE received_messages RENAME COLUMN received_at TO renamed").await.unwrap();
    for response in join_all((0..10).map(|n| server.post("a", n, "hello"))).await {
        assert_problem("a message", response, 500).await;
    }
    assert_problem("a page", server.get("/messages?client_id=a").await, 500).await;
}

/// The database refuses each answer to one client.
async fn a_client_that_cannot_be_served_holds_up_no_other(backend: SqlBackend) {
    let server = Server::start(&backend).await;
    refuse_poison(&backend, "INSERT", "served_ranges", "client_id").await;
    for counter in 1..=3 {
        assert_eq!(server.post_async("poison", counter, "hello").await.status(), StatusCode::ACCEPTED);
    }
    for counter in 1..=5 {
        for response in join_all(["a", "z"].map(|client| server.post(client, counter, "hello"))).await {
            assert_eq!(response.status(), StatusCode::OK, "{counter}");
        }
    }
    assert_eq!(server.json("/clients/poison").await["waiting"], 3);
    assert!(server.readiness.waiting_for().is_empty(), "the database answers");
    backend.sql("DROP TRIGGER no_poison").await.unwrap();
    server.until("/clients/poison", |client| client["waiting"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_that_needs_an_absent_table_may_be_repeated() {
    let backend = Backend::mysql("absent").await;
    let server = Server::start(&backend).await;
    assert_eq!(server.post("a", 1, "hello").await.status(), StatusCode::OK);
    backend.sql("RENAME TABLE clients TO away").await.unwrap();
    let responses =
        [server.post("a", 2, "hello").await, server.post_async("a", 2, "hello").await, server.get("/clients/a").await];
    for response in responses {
        assert_problem("without its table", response, 503).await;
    }
    backend.sql("RENAME TABLE away TO clients").await.unwrap();
    eventually(SOON, "ready", async || server.readiness.waiting_for().is_empty().then_some(())).await;
    assert_eq!(server.post("a", 2, "hello").await.status(), StatusCode::OK);
}

/// A session of a user holds the row of a client locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_client_holds_up_no_other() {
    let backend = Backend::mysql("locked").await;
    let server = Server::start(&backend).await;
    for client in ["a", "locked", "z"] {
        assert_eq!(server.post(client, 1, "hello").await.status(), StatusCode::OK);
    }
    let mut user = backend.on_server().unwrap().connect().await;
    raw_sql("BEGIN").execute(&mut user).await.unwrap();
    raw_sql("SELECT * FROM clients WHERE client_id = 'locked' FOR UPDATE").execute(&mut user).await.unwrap();
    let send = async |n: i64| match n % 60 {
        7 => server.post_async("locked", 2, "hello").await,
        _ => server.post_async(&format!("client {n}"), 1, "hello").await,
    };
    for (n, response) in join_all((0..120).map(send)).await.into_iter().enumerate() {
        if n % 60 == 7 {
            assert_problem(&format!("message {n}"), response, 503).await;
        } else {
            assert!(response.status().is_success(), "message {n}");
        }
    }
    raw_sql("ROLLBACK").execute(&mut user).await.unwrap();
    assert_eq!(server.post("locked", 2, "hello").await.status(), StatusCode::OK);
}

/// A session of a user holds the row of a client locked whose messages wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_client_that_waits_holds_up_no_other() {
    let backend = Backend::mysql("locked_waiting").await;
    let store = round_robin_store::open(backend.database(), SHORT);
    let request = |counter| round_robin_core::tables::Request {
        client: "locked".to_owned().try_into().unwrap(),
        counter,
        message: "hello".to_owned(),
        epoch: None,
    };
    store.accept(&[request(1), request(2)]).await.unwrap();
    let mut user = backend.on_server().unwrap().connect().await;
    raw_sql("BEGIN").execute(&mut user).await.unwrap();
    raw_sql("SELECT * FROM clients WHERE client_id = 'locked' FOR UPDATE").execute(&mut user).await.unwrap();
    let server = Server::start(&backend).await;
    for counter in 1..=5 {
        for client in ["a", "z"] {
            let sent = std::time::Instant::now();
            assert_eq!(server.post(client, counter, "hello").await.status(), StatusCode::OK);
            assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
        }
    }
    raw_sql("ROLLBACK").execute(&mut user).await.unwrap();
    server.until("/clients/locked", |client| client["waiting"] == 0).await;
}
