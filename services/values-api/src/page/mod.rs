//! The page: a column for each worker, filled with its ids.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use kit_web::assets::{Asset, Kind};
use kit_web::live::Settings;
use kit_web::page;
use maud::{Markup, html};

use crate::api::State;
use crate::live::Snapshot;

const ASSETS: [Asset; 4] = [
    page::LIVE,
    page::CHARTS,
    Asset::new(Kind::Script, "/static/values.js", include_str!("values.js")),
    Asset::new(Kind::Style, "/static/values.css", include_str!("values.css")),
];

pub(crate) fn router(state: State) -> Router {
    page::files(&ASSETS).merge(Router::new().route("/", get(index)).with_state(state))
}

/// Renders the current snapshot. The script then follows the event stream.
async fn index(Shared(state): Shared<State>) -> Markup {
    let snapshot = state.live.snapshot().await;
    let main = html! {
        header.bar {
            div {
                h1 { "Values" }
                p.muted { "Each id counts seconds. One worker at a time owns it." }
            }
            form.inline #change {
                label for="count" { "Ids" }
                input #count type="number" name="count" min="1" max="100000" value="50" required;
                button.primary type="submit" name="action" value="add" { "Add" }
                button type="submit" name="action" value="remove" { "Remove" }
            }
        }
        (page::status(snapshot.is_none().then_some(Settings::DATABASE.unavailable)))
        main {
            section.panel #overview {
                h2 #summary {
                    @if let Some(snapshot) = &snapshot {
                        (snapshot.ids) " ids on " (snapshot.workers.len()) " workers"
                    }
                }
                div #shares {}
            }
            div #workers { @if let Some(snapshot) = &snapshot { (board(snapshot)) } }
        }
        footer.muted {
            a href="openapi.json" { "API" } " · " a href="workers" { "Workers" } " · " a href="values" { "Values" }
        }
    };
    page::shell("Values", &ASSETS, &main)
}

/// Renders a column for each worker, and one for ids without an owner.
fn board(snapshot: &Snapshot) -> Markup {
    let known: Vec<i64> = snapshot.workers.iter().map(|worker| worker.incarnation).collect();
    let owner = |owner: &Option<i64>| owner.filter(|owner| known.contains(owner));
    html! {
        @if snapshot.values.iter().any(|(_, _, of)| owner(of).is_none()) {
            section.panel.worker.waiting {
                h2 { span { "Waiting for a worker" } }
                progress {}
                (chips(snapshot.values.iter().filter(|(_, _, of)| owner(of).is_none())))
            }
        }
        @for worker in &snapshot.workers {
            section.panel.worker .(worker.state) {
                h2 { span { (worker.name) } small.muted.number { (worker.load) " of " (worker.capacity) } }
                progress max=(worker.capacity.max(1)) value=(worker.load) {}
                (chips(snapshot.values.iter().filter(|(_, _, of)| *of == Some(worker.incarnation))))
            }
        }
    }
}

fn chips<'a>(values: impl Iterator<Item = &'a (i64, i64, Option<i64>)>) -> Markup {
    html! {
        ul.ids { @for (id, value, _) in values { li { b { (id) } span { (value) } } } }
    }
}
