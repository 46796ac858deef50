//! The round robin system in one process: turns, a restart, and the page in a real browser.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Folder, eventually};

use crate::browser::Browser;
use crate::running::{PATIENCE, System};

impl System {
    async fn of_round_robin(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.round_robin);
        testkit::http_get(url).await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Waits until `count` messages of the client are served. Returns the last number that was.
    async fn served(&self, count: i64) -> i64 {
        eventually(PATIENCE, format!("{count} messages are served"), async || {
            let url = format!("{}/clients/client", self.round_robin);
            let client: Value = testkit::http_get(url).await.ok()?.json().await.ok()?;
            client["last_served"].as_i64().filter(|last| *last >= count)
        })
        .await
    }
}

#[tokio::test]
async fn two_replicas_take_turns_and_a_restart_continues_with_the_next_message() {
    let data = Folder::new("worker-system");
    let mut last = 0;
    // The first process is killed, the second one ends in order.
    for is_killed in [true, false, true] {
        let system = System::start_with(data.path(), |launch| launch.env("INTERVAL", "50ms")).await;
        let served = system.served(last + 50).await;
        assert!(served > last);
        last = served;
        let turns = system.of_round_robin("/turns?limit=1000").await;
        let turns = turns["turns"].as_array().unwrap();
        let names: BTreeSet<&str> = turns.iter().map(|turn| turn["replica"].as_str().unwrap()).collect();
        assert_eq!(names, ["replica-1", "replica-2"].into(), "{turns:?}");
        if is_killed {
            system.process.kill();
            system.process.wait(PATIENCE).await;
        } else {
            system.process.terminate();
            assert!(system.process.wait(PATIENCE).await.success());
        }
    }

    let system = System::start(data.path()).await;
    let mut after = 0;
    while after < last {
        let page = system.of_round_robin(&format!("/messages?client_id=client&after={after}&limit=100")).await;
        for message in page["messages"].as_array().unwrap() {
            after += 1;
            assert_eq!(message["counter"], after, "no number is missing");
            assert!(message["served_at_ms"].is_i64() || after > last, "{message}");
        }
    }
}

#[tokio::test]
async fn a_request_is_answered_by_one_of_the_replicas() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    let send = async |message: &str| {
        let form = format!("client_id=me&counter=1&message={message}");
        let request = testkit::http_client().post(format!("{}/messages", system.round_robin));
        request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await.unwrap()
    };
    let first = send("hello").await;
    assert_eq!(first.status(), 200);
    let first: Value = first.json().await.unwrap();
    assert!(["replica-1", "replica-2"].contains(&first["replica"].as_str().unwrap()), "{first}");
    assert_eq!(send("hello").await.json::<Value>().await.unwrap(), first, "the same answer");
    assert_eq!(send("goodbye").await.status(), 409);
}

#[tokio::test]
async fn the_page_shows_both_replicas_and_the_last_message() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    let browser = Browser::start(false).await;
    browser.client.goto(&system.round_robin).await.unwrap();
    let text = async || browser.evaluate("return document.body.innerText").await.as_str().unwrap().to_owned();
    for wanted in ["replica-1", "replica-2", "client"] {
        eventually(PATIENCE, format!("the page names {wanted}"), async || text().await.contains(wanted).then_some(()))
            .await;
    }
    browser.is_live_without_errors().await;
}

#[tokio::test]
async fn the_page_fits_a_phone_and_needs_nobody_else() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    system.served(1).await;
    let browser = Browser::start(true).await;
    browser.client.goto(&system.round_robin).await.unwrap();
    browser.shows_status("Live").await;
    browser.fits_a_phone_and_needs_nobody_but(&system.round_robin).await;
    assert_eq!(browser.evaluate("return document.querySelectorAll('[style], [onclick]').length").await, json!(0));
    browser.close().await;
}
