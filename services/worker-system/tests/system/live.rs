//! The state of the connection on a live page, in a real browser.

use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::get;
use kit_process::Shutdown;
use kit_web::assets::{Asset, Kind};
use kit_web::live::{Frame, Live, Settings, Source};
use kit_web::{http, page};
use maud::html;
use testkit::eventually;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::browser::Browser;
use crate::running::PATIENCE;

const AWAY: &str = "The store does not answer; trying again.";

const ASSETS: [Asset; 2] = [
    page::LIVE,
    Asset::new(
        Kind::Script,
        "/static/test.js",
        "live.follow('events', (state) => { document.querySelector('main').textContent = state; });",
    ),
];

#[derive(Debug, thiserror::Error)]
#[error("away")]
struct Away;

/// A store of a number; `None` while the store is unavailable.
struct Store(watch::Receiver<Option<u32>>);

impl Source for Store {
    type Snapshot = u32;
    type Error = Away;

    async fn read(&mut self) -> Result<Frame<u32>, Away> {
        self.0.borrow().map(Frame::new).ok_or(Away)
    }
}

/// A live page that shows the number in `store`.
async fn serve(address: SocketAddr, store: Store) -> (SocketAddr, Shutdown, JoinHandle<()>) {
    let settings = Settings { interval: Duration::from_millis(100), max_watchers: 1, unavailable: AWAY };
    let (live, reader) = Live::new(settings);
    let events = get(async move || live.stream());
    let html = page::shell("Test", &ASSETS, &html! { (page::status(None)) main {} });
    let router = page::files(&ASSETS).route("/", get(async move || html.clone())).route("/events", events);
    let listener = TcpListener::bind(address).await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    let (ended, limits) = (shutdown.clone(), http::Limits::default());
    let task = tokio::spawn(async move {
        tokio::join!(
            http::serve(listener, http::harden(router, &limits, None), limits, ended.clone()),
            reader.run(store, ended)
        );
    });
    (address, shutdown, task)
}

#[tokio::test]
async fn a_page_shows_the_state_of_its_connection_and_recovers() {
    let (number, store) = watch::channel(Some(1));
    let (address, shutdown, task) = serve(([127, 0, 0, 1], 0).into(), Store(store.clone())).await;
    let browser = Browser::start(false).await;
    browser.client.goto(&format!("http://{address}/")).await.unwrap();
    let shows = async |number: u32| {
        let main = "return document.querySelector('main').textContent";
        let expected = number.to_string();
        let shown = async || (browser.evaluate(main).await == expected).then_some(());
        eventually(PATIENCE, format!("the page shows {number}"), shown).await;
    };
    shows(1).await;
    browser.shows_status("Live").await;

    number.send_replace(None);
    browser.shows_status(AWAY).await;
    number.send_replace(Some(2));
    shows(2).await;
    browser.shows_status("Live").await;

    shutdown.drain();
    task.await.unwrap();
    browser.shows_status("Reconnecting").await;
    number.send_replace(Some(3));
    let _server = serve(address, Store(store)).await;
    shows(3).await;
    browser.shows_status("Live").await;
    browser.close().await;
}
