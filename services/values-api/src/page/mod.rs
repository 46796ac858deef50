//! The live picture of workers as columns that fill with ids.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use kit_web::assets::Asset;
use kit_web::page;
use maud::{Markup, html};

use crate::api::State;
use crate::live::Snapshot;

const SCRIPT: Asset = Asset {
    path: "/static/values.js",
    content_type: "text/javascript; charset=utf-8",
    content: include_str!("values.js"),
};

const STYLE: Asset =
    Asset { path: "/static/values.css", content_type: "text/css; charset=utf-8", content: include_str!("values.css") };

pub(crate) fn router(state: State) -> Router {
    page::files(&[SCRIPT, STYLE]).merge(Router::new().route("/", get(index)).with_state(state))
}

/// The page as it is now; from then on the script follows the events.
async fn index(Shared(state): Shared<State>) -> Markup {
    let snapshot = Snapshot::read(state.store.as_ref()).await;
    let main = html! {
        header.bar {
            div {
                h1 { "Values" }
                p.muted { "Every id counts the seconds, on one worker at a time." }
            }
            form.inline #change {
                label for="count" { "Ids" }
                input #count type="number" name="count" min="1" max="100000" value="50" required;
                button.primary type="submit" name="action" value="add" { "Add" }
                button type="submit" name="action" value="remove" { "Remove" }
            }
        }
        @match &snapshot {
            Ok(snapshot) => {
                p #status role="status" { (snapshot.ids) " ids on " (snapshot.workers.len()) " workers" }
                main #workers { (board(snapshot)) }
            }
            Err(_) => {
                p #status.bad role="status" { "The database does not answer; trying again." }
                main #workers {}
            }
        }
        footer.muted {
            a href="openapi.json" { "API" } " · " a href="workers" { "workers" } " · " a href="values" { "values" }
        }
    };
    page::shell("Values", &[&STYLE.href()], &[&SCRIPT.href()], &main)
}

/// A column for each worker, and one for ids that have none.
fn board(snapshot: &Snapshot) -> Markup {
    let known: Vec<i64> = snapshot.workers.iter().map(|worker| worker.incarnation).collect();
    let owner = |owner: &Option<i64>| owner.filter(|owner| known.contains(owner));
    html! {
        @if snapshot.values.iter().any(|(_, _, of)| owner(of).is_none()) {
            section.panel.worker.waiting {
                h2 { span { "waiting for a worker" } }
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
