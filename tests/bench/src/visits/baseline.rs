//! Baselines: the same page without counting.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use clap::ValueEnum;
use kit_process::Shutdown;
use kit_process::prometheus_client::registry::Registry;
use kit_web::http::{self, Limits};
use kit_web::requests::Metrics;
use tokio::net::TcpListener;
use visit_counter::Page;

/// Environment named on the page of every side.
pub(super) const ENVIRONMENT: &str = "bench";

/// Which one to be.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Baseline {
    /// A handler and nothing else.
    Bare,
    /// The listener of our services around that handler.
    Frame,
}

impl Baseline {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Frame => "frame",
        }
    }
}

/// Serves on a port of 127.0.0.1 until the process is killed.
pub(crate) async fn run(baseline: Baseline, port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (page, count) = (Arc::new(Page::new(ENVIRONMENT)), Arc::new(AtomicI64::new(0)));
    let handler = async move || {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        ([(header::CACHE_CONTROL, "no-store")], Html(page.render(number))).into_response()
    };
    let router = Router::new().route("/", get(handler));
    match baseline {
        Baseline::Bare => axum::serve(listener, router).await?,
        Baseline::Frame => {
            let limits = Limits { notice_disconnects: false, ..Limits::default() };
            let router = http::harden(router, &limits, Some(&Metrics::register(&mut Registry::default())));
            http::serve(listener, router, limits, Shutdown::new()).await;
        }
    }
    Ok(())
}
