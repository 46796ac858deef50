//! The page with links to the pages of all systems.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use kit_web::http::{self, Limits};
use kit_web::page;
use maud::{Markup, html};

/// A system that has a page.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name of the system.
    pub name: &'static str,
    /// A sentence on the purpose of the system.
    pub what: &'static str,
    /// Address of its page.
    pub address: SocketAddr,
}

/// The page and its assets.
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
    page::shell("worker-system", &[], &main)
}
