//! visit-counter within worker-system: its page in a real browser, and a restart.

use serde_json::{Value, json};
use testkit::{Folder, eventually};

use crate::browser::Browser;
use crate::running::{PATIENCE, System};

impl Browser {
    /// The number that the page of visit-counter shows.
    async fn number(&self) -> Option<i64> {
        let text = self.evaluate("return document.querySelector('h1')?.textContent ?? ''").await;
        let number = text.as_str()?.strip_prefix("Hi from local environment! Counter: ")?;
        number.parse().ok()
    }
}

#[tokio::test]
async fn reload_makes_the_number_rise() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    let browser = Browser::start(false).await;
    browser.client.goto(&system.visits).await.unwrap();
    let mut number = browser.number().await.unwrap();
    for _ in 0..3 {
        browser.click("form button").await;
        let risen = async || browser.number().await.filter(|now| *now > number);
        let next = eventually(PATIENCE, "another number", risen).await;
        assert_eq!(next, number + 1, "nobody else visits");
        number = next;
    }
    // The browser requests only the page again, since it caches the files.
    let files = "return performance.getEntriesByType('resource').filter((entry) => entry.transferSize > 0).length";
    assert_eq!(browser.evaluate(files).await, 0);
    let scripts = "return [document.scripts.length, document.querySelectorAll('[style], [onclick]').length]";
    assert_eq!(browser.evaluate(scripts).await, json!([0, 0]));
}

#[tokio::test]
async fn the_page_fits_a_phone_and_needs_nobody_else() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    let browser = Browser::start(true).await;
    browser.client.goto(&system.visits).await.unwrap();
    assert!(browser.number().await.is_some());
    browser.fits_a_phone_and_needs_nobody_but(&system.visits).await;
    let height = browser.evaluate("return document.querySelector('form button').offsetHeight").await;
    assert!(height.as_i64() >= Some(44), "a thumb hits it: {height}");
}

#[tokio::test]
async fn a_restart_goes_on_counting() {
    let data = Folder::new("worker-system");
    for number in 1..=3 {
        let system = System::start(data.path()).await;
        let visit = testkit::http_client().post(format!("{}/api/visits", system.visits));
        let visit: Value = visit.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        assert_eq!(visit, json!({ "number": number }));
        // The first process ends in order, the later ones are killed.
        if number == 1 {
            system.process.terminate();
            assert!(system.process.wait(PATIENCE).await.success());
        }
    }
}
