//! The page that links to all others.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use kit_web::http::{self, Limits};
use kit_web::page;
use maud::{Markup, html};

/// A system with a page.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Where its page is.
    pub address: SocketAddr,
}

/// The page on its own.
pub fn router(entries: &[Entry]) -> Router {
    let index = render(entries);
    http::harden(page::files(&[]).route("/", get(async move || index.clone())), &Limits::default(), None)
}

fn render(entries: &[Entry]) -> Markup {
    let main = html! {
        header.bar { h1 { "worker-system" } }
        main {
            @for entry in entries {
                section.panel {
                    h2 { a href={ "http://" (entry.address) "/" } { (entry.name) } }
                    p { (entry.what) }
                }
            }
        }
    };
    page::shell("worker-system", &[], &[], &main)
}
