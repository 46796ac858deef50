//! Requests that wait for their turn do not use up the limits of the others.

use kit_web::http::Limits;
use round_robin_server::Config;
use serde_json::Value;

use crate::server::{Backend, LONG, Server, assert_problem, config, hold, release};

#[tokio::test]
async fn requests_that_wait_leave_room_for_the_others() {
    let backend = Backend::sqlite("limits").await;
    hold(&backend).await;
    let limits = Limits { max_requests: 1, max_waiting_requests: 2, ..Limits::default() };
    let server = Server::with(&backend, Config { limits, ..config("limited", LONG) }).await;
    let waiting = [1, 2].map(|counter| tokio::spawn(server.message("a", counter, "hello").send()));
    server.until("/clients/a", |client| client["waiting"] == 2).await;
    for _ in 0..3 {
        assert_problem("no place is left", server.post("a", 3, "hello").await, 503).await;
        assert_eq!(server.post_async("a", 3, "hello").await.status(), 202, "it does not wait");
        assert_eq!(server.json("/clients/a").await["waiting"], 3);
        assert_eq!(server.get("/turns").await.status(), 200);
    }
    release(&backend).await;
    for (counter, request) in (1..).zip(waiting) {
        let answer: Value = request.await.unwrap().unwrap().json().await.unwrap();
        assert_eq!((&answer["counter"], &answer["replica"]), (&counter.into(), &"limited".into()));
    }
    assert_eq!(server.post("a", 4, "hello").await.status(), 200);
}
