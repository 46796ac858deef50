//! The time before which a job does not start.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{SqlBackend, eventually, on_every_backend};

use crate::{Backend, SOON, Server};

on_every_backend!(a_job_whose_time_has_come_is_published_at_once);

/// Start times as they are sent and as they are shown.
const TIMES: [(&str, &str); 14] = [
    ("2031-01-01T00:00:00Z", "2031-01-01T00:00:00.000Z"),
    ("2031-01-01t00:00:00z", "2031-01-01T00:00:00.000Z"),
    ("2031-01-01 00:00:00Z", "2031-01-01T00:00:00.000Z"),
    ("2031-01-01T00:00:00+00:00", "2031-01-01T00:00:00.000Z"),
    ("2031-01-01T00:00:00-00:00", "2031-01-01T00:00:00.000Z"),
    ("2031-01-01T01:30:00+01:30", "2031-01-01T00:00:00.000Z"),
    ("2030-12-31T16:00:00-08:00", "2031-01-01T00:00:00.000Z"),
    ("2031-01-01T23:59:00+23:59", "2031-01-01T00:00:00.000Z"),
    ("2031-01-01T00:00:00.5Z", "2031-01-01T00:00:00.500Z"),
    ("2031-01-01T00:00:00.123456+00:00", "2031-01-01T00:00:00.124Z"),
    ("2031-01-01T00:00:00.0000000000001Z", "2031-01-01T00:00:00.000Z"),
    ("2030-12-31T23:59:59.9999Z", "2031-01-01T00:00:00.000Z"),
    ("2030-12-31T23:59:60Z", "2031-01-01T00:00:00.000Z"),
    ("2031-01-01T00:59:60.7+01:00", "2031-01-01T00:00:00.000Z"),
];

#[tokio::test]
async fn every_form_of_rfc_3339_is_a_start_time() {
    let server = Server::start(false, 1000).await;
    for (sent, shown) in TIMES {
        let path = server.submit(&json!({"kind": "user-request", "run_at": sent})).await;
        assert_eq!(server.json(&path).await["run_at"], shown, "{sent}");
    }
    // The same time is the same request.
    let submit = async |run_at: &str| {
        let response = server.post("/jobs", &json!({"kind": "user-request", "run_at": run_at}), Some("key")).await;
        response.json::<Value>().await.unwrap()["job_id"].clone()
    };
    assert_eq!(submit("2031-01-01T00:00:00Z").await, submit("2031-01-01T01:00:00+01:00").await);
}

#[tokio::test]
async fn a_start_time_in_the_past_is_now() {
    let server = Server::start(false, 1000).await;
    for sent in ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2020-02-29T12:00:00+05:45"] {
        let path = server.submit(&json!({"kind": "user-request", "run_at": sent})).await;
        let job = server.json(&path).await;
        assert_eq!(job["run_at"], job["created_at"], "{sent}");
    }
}

#[tokio::test]
async fn any_other_start_time_is_refused_with_the_expected_form() {
    let server = Server::start(false, 1000).await;
    for sent in [
        json!("tomorrow"),
        json!(""),
        json!("2031-01-01"),
        json!("2031-01-01T00:00:00"),
        json!("2031-01-01T00:00Z"),
        json!("2031-01-01T00:00:00+0000"),
        json!("2031-01-01T00:00:00+00"),
        json!("2031-01-01T00:00:00+24:00"),
        json!("2031-01-01T24:00:00Z"),
        json!("2031-01-01T00:00:60Z"),
        json!("2031-02-29T00:00:00Z"),
        json!("2031-13-01T00:00:00Z"),
        json!("2031-01-01x00:00:00Z"),
        json!("2031-01-01T00:00:00.Z"),
        json!("2031-01-01T00:00:00,5Z"),
        json!(" 2031-01-01T00:00:00Z"),
        json!("2031-01-01T00:00:00Z "),
        json!("20310101T000000Z"),
        json!("+12031-01-01T00:00:00Z"),
        json!("1924992000"),
        json!(1_924_992_000),
        json!(true),
        json!({}),
    ] {
        let job = json!({"kind": "user-request", "run_at": sent});
        let batch = json!({"jobs": [{"kind": "user-request"}, job]});
        for (path, body, place) in [("/jobs", job, "run_at: "), ("/jobs/batch", batch, "jobs[1].run_at: ")] {
            let response = server.post(path, &body, None).await;
            assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{sent}");
            let detail = response.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with(place) && detail.contains("RFC 3339"), "{detail}");
        }
    }
    assert_eq!(server.jobs().await, 0);
}

/// The sweeper publishes a job 2 s after main-app accepted it, unless main-app has published it.
async fn a_job_whose_time_has_come_is_published_at_once(backend: SqlBackend) {
    const JOBS: usize = 5;
    let server = Server::on(backend, false, 1000).await;
    for (offset, ahead_ms) in
        [("a day ago", -86_400_000), ("a second ago", -1000), ("now", 0), ("soon", 5), ("later", 50)]
    {
        for _ in 0..JOBS {
            let now = server.store.overview().await.unwrap().now;
            let at = UNIX_EPOCH + Duration::from_millis(now.saturating_add(ahead_ms).unsigned_abs());
            let run_at = humantime::format_rfc3339_millis(at).to_string();
            server.submit(&json!({"kind": "user-request", "run_at": run_at})).await;
        }
        eventually(SOON, "the jobs are published", async || {
            let waiting = server.backend.number("SELECT COUNT(*) FROM jobs WHERE published_at IS NULL").await;
            (waiting == 0).then_some(())
        })
        .await;
        // The machine may be busy, but not each time.
        let ms = server.backend.number("SELECT MIN(published_at - run_at) FROM jobs").await;
        assert!((0..1500).contains(&ms), "{offset}: published {ms} ms after its time");
        server.backend.sql("DELETE FROM jobs").await.unwrap();
    }
}
