//! A real browser.

use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use testkit::{Folder, Launch, Process, eventually, free_port};

use crate::running::PATIENCE;

/// Chromium under chromedriver, with a profile of its own.
pub(crate) struct Browser {
    pub(crate) client: Client,
    _driver: Process,
    _profile: Folder,
}

impl Browser {
    /// Starts with a desktop window in light colours, or with a phone's in dark colours.
    pub(crate) async fn start(phone: bool) -> Self {
        let profile = Folder::new("chromium");
        let port = free_port();
        let driver = Launch::new("chromedriver").arg(format!("--port={port}")).spawn();
        let colours = format!("--blink-settings=preferredColorScheme={}", u8::from(!phone));
        let arguments = [
            colours.as_str(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--disable-sync",
            "--no-first-run",
            &format!("--user-data-dir={}", profile.path().display()),
            "--window-size=1200,800",
        ];
        let mut options = json!({ "args": arguments });
        if phone {
            options["mobileEmulation"] = json!({ "deviceMetrics": { "width": 360, "height": 740, "pixelRatio": 2 } });
        }
        let capabilities = Map::from_iter([("goog:chromeOptions".to_owned(), options)]);
        let url = format!("http://127.0.0.1:{port}");
        eventually(PATIENCE, "chromedriver answers", async || testkit::http_get(format!("{url}/status")).await.ok())
            .await;
        let client =
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&url).await.expect("a browser");
        Self { client, _driver: driver, _profile: profile }
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.client.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
    }

    pub(crate) async fn evaluate(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Checks that the page is no wider than a phone, and that all requests go to
    /// `origin`.
    pub(crate) async fn fits_a_phone_and_needs_nobody_but(&self, origin: &str) {
        let width = self.evaluate("return [innerWidth, document.documentElement.scrollWidth]").await;
        assert_eq!(width, json!([360, 360]), "nothing is cut off");
        let hosts =
            "return [...new Set(performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin))]";
        assert_eq!(self.evaluate(hosts).await, json!([origin]), "no request to another host");
    }

    /// Checks that the page follows its events, and that no request of the user failed.
    pub(crate) async fn is_live_without_errors(&self) {
        let shown = "return [document.querySelector('#status').textContent, document.querySelector('#notice').hidden]";
        assert_eq!(self.evaluate(shown).await, json!(["Live", true]));
    }

    /// Waits until the page shows this state of its connection.
    pub(crate) async fn shows_status(&self, status: &str) {
        eventually(PATIENCE, format!("the page shows \"{status}\""), async || {
            let shown = self.evaluate("return document.querySelector('#status').textContent").await;
            (shown == status).then_some(())
        })
        .await;
    }

    pub(crate) async fn close(self) {
        tokio::time::timeout(Duration::from_secs(10), self.client.clone().close()).await.unwrap().unwrap();
    }
}
