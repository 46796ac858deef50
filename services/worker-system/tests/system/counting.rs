//! The counting system in one process: the count, a restart, and the page in a real browser.

use std::path::Path;

use serde_json::{Value, json};
use testkit::{Folder, eventually};

use crate::browser::Browser;
use crate::running::{PATIENCE, System};

impl System {
    /// Waits until the clients have counted to `number`. Returns the last number that is stored.
    async fn counted_to(&self, number: u64) -> u64 {
        eventually(PATIENCE, format!("the clients count to {number}"), async || {
            let health: Value = testkit::http_get(format!("{}/health", self.counting)).await.ok()?.json().await.ok()?;
            health["last_number"].as_u64().filter(|last| *last >= number)
        })
        .await
    }
}

/// Asserts that line n of the file is n. Returns the number of lines.
fn lines(data: &Path) -> u64 {
    let text = std::fs::read(data.join("counting/numbers.txt")).unwrap();
    let right = counting_words::lines::compare(1, &text);
    assert_eq!(right.bytes, text.len(), "line {} is wrong", right.lines + 1);
    right.lines
}

#[tokio::test]
async fn two_clients_count_and_a_restart_goes_on() {
    let data = Folder::new("worker-system");
    let mut last = 0;
    // The first process is killed, the second one ends in order.
    for is_killed in [true, false, true] {
        let system = System::start_with(data.path(), |launch| launch.env("NUMBER_INTERVAL", "20ms")).await;
        last = system.counted_to(last + 20).await;
        if is_killed {
            system.process.kill();
            system.process.wait(PATIENCE).await;
        } else {
            system.process.terminate();
            assert!(system.process.wait(PATIENCE).await.success());
            assert!(lines(data.path()) >= last);
        }
    }
    // A kill may leave a torn line, which the next start repairs.
    let system = System::start(data.path()).await;
    system.counted_to(last).await;
    system.process.terminate();
    system.process.wait(PATIENCE).await;
    assert!(lines(data.path()) >= last);
}

#[tokio::test]
async fn the_page_of_the_count_shows_both_clients_and_fits_a_phone() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    system.counted_to(2).await;
    let browser = Browser::start(true).await;
    browser.client.goto(&system.counting).await.unwrap();
    browser.shows_status("Live").await;
    let text = async || browser.evaluate("return document.body.innerText").await.as_str().unwrap().to_owned();
    for wanted in ["client1", "client2", "three", "Counting starts"] {
        eventually(PATIENCE, format!("the page shows {wanted}"), async || text().await.contains(wanted).then_some(()))
            .await;
    }
    browser.is_live_without_errors().await;
    browser.fits_a_phone_and_needs_nobody_but(&system.counting).await;
    assert_eq!(browser.evaluate("return document.querySelectorAll('[style], [onclick]').length").await, json!(0));
    browser.close().await;
}
