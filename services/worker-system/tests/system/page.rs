//! The page of values-api in a real browser.

use serde_json::{Map, Value, json};
use testkit::{Folder, eventually};

use crate::browser::Browser;
use crate::running::{PATIENCE, System};

impl Browser {
    /// Reads the ids of each column, by its heading.
    async fn columns(&self) -> Map<String, Value> {
        let script = "return Object.fromEntries([...document.querySelectorAll('.worker')].map((column) => \
                      [column.querySelector('h2 span').textContent, \
                       [...column.querySelectorAll('.ids li b')].map((id) => Number(id.textContent))]))";
        let columns = self.evaluate(script).await;
        columns.as_object().cloned().unwrap_or_default()
    }

    async fn value(&self, id: u32) -> Option<i64> {
        let script = "const chip = [...document.querySelectorAll('.ids li')].find((li) => \
                      li.querySelector('b').textContent === arguments[0]); \
                      return chip ? Number(chip.querySelector('span').textContent) : null";
        self.client.execute(script, vec![json!(id.to_string())]).await.unwrap().as_i64()
    }
}

#[tokio::test]
async fn columns_fill_with_ids_that_tick_and_move() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    let browser = Browser::start(false).await;
    browser.client.goto(&system.values).await.unwrap();

    browser.click("button[value=add]").await;
    eventually(PATIENCE, "50 ids are on 4 workers", async || {
        let columns = browser.columns().await;
        let all_on_workers = columns.keys().all(|name| name.starts_with("worker-"));
        let ids: usize = columns.values().map(|ids| ids.as_array().unwrap().len()).sum();
        (ids == 50 && columns.len() == 4 && all_on_workers).then_some(())
    })
    .await;

    let before = eventually(PATIENCE, "id 1 has a value", async || browser.value(1).await).await;
    eventually(PATIENCE, "id 1 ticks", async || browser.value(1).await.filter(|value| *value > before)).await;

    // Twenty more ids need a fifth worker, to which the others move some of their ids.
    system.add(20).await;
    eventually(PATIENCE, "ids move to a new worker", async || {
        let columns = browser.columns().await;
        let moved = columns.get("worker-5")?.as_array()?.iter().any(|id| id.as_i64() <= Some(50));
        moved.then_some(())
    })
    .await;

    browser.click("button[value=remove]").await;
    eventually(PATIENCE, "50 ids are gone", async || {
        let left: usize = browser.columns().await.values().map(|ids| ids.as_array().unwrap().len()).sum();
        (left == 20).then_some(())
    })
    .await;
    eventually(PATIENCE, "the chart shows the ids of each worker", async || {
        let chart = browser.evaluate("return document.querySelector('#shares svg[role=img] desc').textContent").await;
        let counts = chart
            .as_str()?
            .split(", ")
            .map(|part| part.strip_prefix("worker-")?.split_once(": ")?.1.parse::<u64>().ok());
        (counts.sum::<Option<u64>>() == Some(20)).then_some(())
    })
    .await;
    browser.is_live_without_errors().await;
}

#[tokio::test]
async fn the_page_fits_a_phone_and_needs_nobody_else() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    system.add(50).await;
    system.settled(50, 4).await;
    let browser = Browser::start(true).await;
    browser.client.goto(&system.values).await.unwrap();
    eventually(PATIENCE, "the ids are shown", async || browser.value(50).await).await;

    browser.fits_a_phone_and_needs_nobody_but(&system.values).await;
    browser.close().await;
}
