//! Requests that the database refuses, through the fault of the client or of the program.

use futures_util::future::join_all;
use kit_database::Database;
use kit_database::sqlx::raw_sql;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use testkit::{MariaDb, SqlBackend, eventually, on_every_backend};

use crate::{Backend, OPTIONS, SOON, Server, assert_problem};

on_every_backend!(
    a_job_that_breaks_a_constraint_fails_alone,
    a_key_that_conflicts_fails_alone,
    a_defect_of_the_schema_is_no_fault_of_the_client,
);

/// Makes the database refuse every payload that contains "poison".
async fn refuse_poison(backend: &SqlBackend) {
    let sql = match backend.database() {
        Database::MySql(_) => "ALTER TABLE jobs ADD CONSTRAINT no_poison CHECK (payload NOT LIKE '%poison%')",
        Database::Sqlite(_) => {
            "CREATE TRIGGER no_poison BEFORE INSERT ON jobs WHEN NEW.payload LIKE '%poison%' \
             BEGIN SELECT RAISE(ABORT, 'poison'); END"
        }
    };
    backend.sql(sql).await.unwrap();
}

async fn a_job_that_breaks_a_constraint_fails_alone(backend: SqlBackend) {
    let server = Server::on(backend, false, 10_000).await;
    refuse_poison(&server.backend).await;
    // So many requests at once share commits.
    each_answers_for_itself(&server, |n| json!({"user_id": n, "data": if n % 30 == 7 { "poison" } else { "fine" }}))
        .await;
    let before = server.jobs().await;
    let job = |data: &str| json!({"kind": "user-request", "payload": {"data": data}});
    let batch = json!({"jobs": [job("fine"), job("poison"), job("fine")]});
    for key in [None, Some("key")] {
        assert_problem("a batch", server.post("/jobs/batch", &batch, key).await, 422).await;
    }
    assert_eq!(server.jobs().await, before, "a batch is accepted as a whole or not at all");
}

/// Submits many jobs at once. Those with a number of 7, 37 and so on are refused, the others accepted.
async fn each_answers_for_itself(server: &Server, payload: impl Fn(usize) -> Value) {
    let submit =
        async |n: usize| server.post("/jobs", &json!({"kind": "user-request", "payload": payload(n)}), None).await;
    for (n, response) in join_all((0..120).map(submit)).await.into_iter().enumerate() {
        if n % 30 == 7 {
            assert_problem(&format!("job {n}"), response, 422).await;
        } else {
            assert_eq!(response.status(), StatusCode::ACCEPTED, "job {n}");
        }
    }
    assert_eq!(server.jobs().await, 116);
}

/// A session of a user holds the row of an idempotency key locked.
#[tokio::test]
async fn a_locked_key_holds_up_no_other_request() {
    let server = Server::on(Backend::mysql("locked_key").await, false, 10_000).await;
    let body = json!({"kind": "user-request", "payload": {"user_id": 1}});
    // A request that waits for a key also locks the gap before it. Another key keeps the requests
    // without keys out of this gap.
    for key in ["another", "locked"] {
        assert_eq!(server.post("/jobs", &body, Some(key)).await.status(), StatusCode::ACCEPTED);
    }
    let mut user = server.backend.on_server().unwrap().connect().await;
    raw_sql("BEGIN").execute(&mut user).await.unwrap();
    raw_sql("SELECT id FROM jobs WHERE idempotency_key = 'locked' FOR UPDATE").execute(&mut user).await.unwrap();
    // So many requests at once share commits.
    let submit = async |n: usize| server.post("/jobs", &body, (n % 60 == 7).then_some("locked")).await;
    for (n, response) in join_all((0..120).map(submit)).await.into_iter().enumerate() {
        if n % 60 == 7 {
            assert_problem(&format!("job {n}"), response, 503).await;
        } else {
            assert_eq!(response.status(), StatusCode::ACCEPTED, "job {n}");
        }
    }
    raw_sql("ROLLBACK").execute(&mut user).await.unwrap();
    assert!(server.post("/jobs", &body, Some("locked")).await.status().is_success());
    assert_eq!(server.jobs().await, 120);
}

/// Batches are accepted as a whole, together with other requests.
async fn a_key_that_conflicts_fails_alone(backend: SqlBackend) {
    let server = Server::on(backend, false, 10_000).await;
    let job =
        |data: &str, key: &str| json!({"kind": "user-request", "payload": {"data": data}, "idempotency_key": key});
    let plain = json!({"kind": "user-request"});
    assert_eq!(server.post("/jobs", &plain, Some("taken")).await.status(), StatusCode::ACCEPTED);
    let submit = async |n: usize| {
        let other = json!({"kind": "user-request", "payload": {"data": n}});
        match n % 4 {
            0 => server.post("/jobs", &other, Some("taken")).await,
            1 => server.post("/jobs/batch", &json!({"jobs": [job("a", "taken"), plain]}), None).await,
            2 => server.post("/jobs/batch", &json!({"jobs": [plain, job("b", &n.to_string()), plain]}), None).await,
            _ => server.post("/jobs", &other, None).await,
        }
    };
    for (n, response) in join_all((0..120).map(submit)).await.into_iter().enumerate() {
        let status = response.status();
        if n % 4 < 2 {
            let detail = response.text().await.unwrap();
            assert_eq!(status, StatusCode::CONFLICT, "request {n}: {detail}");
            assert!(n % 4 == 0 || detail.contains("jobs[0] "), "{detail}");
        } else {
            assert_eq!(status, StatusCode::ACCEPTED, "request {n}");
        }
    }
    assert_eq!(server.jobs().await, 1 + 30 * 3 + 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_does_not_fit_fails_alone() {
    let server = Server::on(Backend::mysql("character").await, false, 10_000).await;
    server.backend.sql("ALTER TABLE jobs MODIFY payload LONGTEXT CHARACTER SET latin1 NOT NULL").await.unwrap();
    each_answers_for_itself(&server, |n| json!({"user_id": n, "data": if n % 30 == 7 { "日本 😀" } else { "fine" }}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_fails_alone() {
    let server = Server::on(Backend::mysql("text").await, false, 10_000).await;
    server.backend.sql("ALTER TABLE jobs MODIFY payload VARCHAR(100) NOT NULL").await.unwrap();
    each_answers_for_itself(&server, |n| json!({"user_id": n, "data": "x".repeat(if n % 30 == 7 { 200 } else { 20 })}))
        .await;
}

async fn a_defect_of_the_schema_is_no_fault_of_the_client(backend: SqlBackend) {
    let server = Server::on(backend, false, 10_000).await;
    server.backend.sql("ALTER TABLE jobs RENAME COLUMN request_hash TO renamed").await.unwrap();
    let job = json!({"kind": "user-request"});
    for response in join_all((0..10).map(|_| server.post("/jobs", &job, None))).await {
        assert_problem("a job", response, 500).await;
    }
    assert_problem("a batch", server.post("/jobs/batch", &json!({"jobs": [job, job]}), None).await, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_its_file_is_no_fault_of_the_client() {
    let server = Server::on(Backend::mysql("file").await, false, 10_000).await;
    server.backend.sql("ALTER TABLE jobs DISCARD TABLESPACE").await.unwrap();
    may_be_repeated(server.get("/user-request-job").await).await;
}

async fn may_be_repeated(response: Response) {
    let what = format!("{}", response.url());
    assert_eq!(response.headers()["retry-after"], "1", "{what}");
    assert_problem(&what, response, 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_that_needs_an_absent_table_may_be_repeated() {
    let server = Server::on(Backend::mysql("absent").await, false, 10_000).await;
    let path = server.submit(&json!({"kind": "user-request"})).await;
    server.backend.sql("RENAME TABLE jobs TO away").await.unwrap();
    let job = json!({"kind": "user-request"});
    let responses = [
        server.post("/jobs", &job, None).await,
        server.post("/jobs/batch", &json!({"jobs": [job]}), Some("key")).await,
        server.get("/user-request-job").await,
        server.get("/jobs").await,
        server.get(&path).await,
        server.get(&format!("{path}/events")).await,
        server.send(Method::DELETE, &path, None, None).await,
        server.send(Method::POST, &format!("{path}/retry"), None, None).await,
    ];
    for response in responses {
        may_be_repeated(response).await;
    }
    eventually(SOON, "not ready", async || (server.readiness.waiting_for() == ["database"]).then_some(())).await;
    server.backend.sql("RENAME TABLE away TO jobs").await.unwrap();
    eventually(SOON, "ready", async || server.readiness.waiting_for().is_empty().then_some(())).await;
    assert_eq!(server.post("/jobs", &job, None).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_the_database_takes_fails_alone() {
    let backend = SqlBackend::on(MariaDb::small_packets().await, "large", OPTIONS).await;
    let server = Server::on(Backend::migrated(backend).await, false, 10_000).await;
    let job = |bytes: usize| json!({"kind": "user-request", "payload": {"data": "x".repeat(bytes)}});
    let submit = async |n: usize| match n % 3 {
        0 => server.post("/jobs", &job(200_000), None).await,
        1 => server.post("/jobs/batch", &json!({"jobs": [job(150_000), job(150_000)]}), Some(&n.to_string())).await,
        _ => server.post("/jobs/batch", &json!({"jobs": [job(200_000), job(200_000), job(200_000)]}), None).await,
    };
    for (n, response) in join_all((0..30).map(submit)).await.into_iter().enumerate() {
        if n % 3 == 2 {
            assert_problem("a large batch", response, 413).await;
        } else {
            assert_eq!(response.status(), StatusCode::ACCEPTED, "request {n}");
        }
    }
    assert_eq!(server.jobs().await, 10 + 10 * 2);
}
