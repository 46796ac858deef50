//! The jobs system in one process, and its page.

use std::path::PathBuf;

use fantoccini::Locator;
use serde_json::{Value, json};
use testkit::{Folder, eventually};

use crate::browser::Browser;
use crate::running::{PATIENCE, System};

async fn get(url: &str) -> Value {
    testkit::http_get(url).await.unwrap().json().await.unwrap()
}

async fn submit(system: &System, body: &Value) -> String {
    let request = testkit::http_client().post(format!("{}/jobs", system.jobs)).json(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 202);
    format!("{}{}", system.jobs, response.headers()["location"].to_str().unwrap())
}

async fn status(job: &str, status: &str) -> Value {
    eventually(PATIENCE, format!("{job} is {status}"), async || {
        let job = get(job).await;
        (job["status"] == status).then_some(job)
    })
    .await
}

#[tokio::test]
async fn a_plain_request_succeeds_and_a_restart_loses_nothing() {
    let data = Folder::new("worker-system");
    let system = System::start(data.path()).await;
    let response = testkit::http_get(format!("{}/user-request-job", system.jobs)).await.unwrap();
    assert_eq!(response.status(), 202);
    let job = format!("{}{}", system.jobs, response.headers()["location"].to_str().unwrap());
    status(&job, "succeeded").await;

    // A thousand jobs take four seconds or more. In the middle, the process is killed.
    let jobs: Vec<Value> = (0..1000).map(|_| json!({"kind": "user-request"})).collect();
    let request = testkit::http_client().post(format!("{}/jobs/batch", system.jobs)).json(&json!({ "jobs": jobs }));
    assert_eq!(request.send().await.unwrap().status(), 202);
    eventually(PATIENCE, "the first run", async || {
        let page = get(&format!("{}/jobs?status=running&limit=1", system.jobs)).await;
        page["next"].is_string().then_some(())
    })
    .await;
    system.process.kill();
    system.process.wait(PATIENCE).await;

    let system = System::start(data.path()).await;
    eventually(PATIENCE * 2, "all have ended", async || {
        let page = get(&format!("{}/jobs?limit=500", system.jobs)).await;
        let older = get(&format!("{}/jobs?limit=500&before={}", system.jobs, page["next"].as_str()?)).await;
        let jobs = page["jobs"].as_array()?.iter().chain(older["jobs"].as_array()?);
        jobs.clone().all(|job| job["status"] == "succeeded").then_some(())
    })
    .await;
}

#[tokio::test]
async fn jobs_are_submitted_watched_cancelled_and_retried_on_the_page() {
    let data = Folder::new("worker-system");
    let system = System::start_with(data.path(), |launch| {
        launch.env("PROCESSING_TIME", "20s").env("ALLOWED_HOSTS", "127.0.0.1")
    })
    .await;
    let failing = submit(&system, &json!({"kind": "http", "payload": {"url": "http://127.0.0.1/"}})).await;
    status(&failing, "failed").await;
    let browser = Browser::start(false).await;
    browser.client.goto(&system.jobs).await.unwrap();
    browser.click("#submit button").await;
    let count = async |list: &str| {
        browser.evaluate(&format!("return document.querySelectorAll('#{list} li[data-job]').length")).await
    };
    eventually(PATIENCE, "ten run", async || (count("running_jobs").await == 10).then_some(())).await;
    assert_eq!(count("failed_jobs").await, 1);

    let job = browser.evaluate("return document.querySelector('#running_jobs li').dataset.job").await;
    let job = job.as_str().unwrap().to_owned();
    browser.click(&format!("#running_jobs li[data-job='{job}'] button")).await;
    status(&format!("{}/jobs/{job}", system.jobs), "cancelled").await;
    eventually(PATIENCE, "nine run", async || (count("running_jobs").await == 9).then_some(())).await;

    browser.click("#failed_jobs li button").await;
    eventually(PATIENCE, "it failed once more", async || {
        let job = get(&failing).await;
        (job["status"] == "failed" && job["attempts"].as_array()?.len() == 2).then_some(())
    })
    .await;
    let text = browser.client.find(Locator::Css("#failed_jobs")).await.unwrap().text().await.unwrap();
    assert!(text.contains("has no public address"), "{text}");
    for (chart, described) in
        [("shares", "Running: 9, Failed: 1"), ("accepted_history", "from "), ("timeline", "user-request ")]
    {
        let description = format!("return document.querySelector('#{chart} svg[role=img] desc').textContent");
        eventually(PATIENCE, format!("a chart of {chart}"), async || {
            browser.evaluate(&description).await.as_str()?.starts_with(described).then_some(())
        })
        .await;
    }
    browser.is_live_without_errors().await;
    screenshot(&browser, "desktop").await;
    browser.close().await;
}

#[tokio::test]
async fn the_page_of_jobs_fits_a_phone() {
    let data = Folder::new("worker-system");
    let system = System::start_with(data.path(), |launch| launch.env("ALLOWED_HOSTS", "127.0.0.1")).await;
    for _ in 0..5 {
        submit(&system, &json!({"kind": "user-request"})).await;
    }
    let url = format!("http://127.0.0.1/{}", "long".repeat(200));
    status(&submit(&system, &json!({"kind": "http", "payload": {"url": url}})).await, "failed").await;
    let browser = Browser::start(true).await;
    browser.client.goto(&system.jobs).await.unwrap();
    eventually(PATIENCE, "the jobs are shown", async || {
        let shown = browser.evaluate("return document.querySelectorAll('#recent_jobs li[data-job]').length").await;
        (shown == 6).then_some(())
    })
    .await;
    browser.fits_a_phone_and_needs_nobody_but(&system.jobs).await;
    screenshot(&browser, "phone").await;
    browser.close().await;
}

/// Saves a screenshot in the build folder, for inspection.
async fn screenshot(browser: &Browser, name: &str) {
    browser.evaluate("scrollTo(0, 0)").await;
    let picture = browser.client.screenshot().await.unwrap();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("jobs-{name}.png"));
    std::fs::write(path, picture).unwrap();
}
