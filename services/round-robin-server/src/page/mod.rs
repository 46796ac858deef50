//! The page: who serves, what was served last, the turns as a timeline, and each client's backlog.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use kit_web::assets::{Asset, Kind};
use kit_web::{http, page};
use maud::{Markup, html};

use crate::api::State;
use crate::live::{Client, SETTINGS, Snapshot};

const ASSETS: [Asset; 3] = [
    page::LIVE,
    Asset::new(Kind::Script, "/static/round-robin.js", include_str!("round-robin.js")),
    Asset::new(Kind::Style, "/static/round-robin.css", include_str!("round-robin.css")),
];

/// Shown in place of what is not known.
const UNKNOWN: &str = "–";

pub(crate) fn router(state: State) -> Router {
    let page = Router::new().route("/", get(index)).layer(http::compression());
    page::files(&ASSETS).merge(page.with_state(state))
}

/// Renders the current snapshot. The script then follows the event stream.
async fn index(Shared(state): Shared<State>) -> Markup {
    let snapshot = state.live.snapshot().await;
    let snapshot = snapshot.as_deref();
    let main = html! {
        header.bar {
            div {
                h1 { "Round robin" }
                p.muted { "Replicas take turns. In each turn exactly one of them serves." }
            }
            form.inline #send {
                label for="count" { "Messages" }
                input #count type="number" name="count" min="1" max="100" value="10" required;
                button.primary type="submit" { "Send" }
            }
        }
        (page::status(snapshot.is_none().then_some(SETTINGS.unavailable)))
        main {
            (now(snapshot))
            section.panel {
                header {
                    h2 { "Turns" }
                    p.muted #scale {}
                }
                div #lanes {}
                div #axis {}
            }
            section.panel {
                header {
                    h2 { "Clients" }
                    p.muted.number #waiting { @if let Some(snapshot) = snapshot { (waiting(snapshot)) } }
                }
                ul #clients {
                    @match snapshot {
                        Some(snapshot) if !snapshot.clients.is_empty() => {
                            @for client in &snapshot.clients { (row(client)) }
                        }
                        Some(_) => { li.muted { "No client has sent a message yet" } }
                        None => { li.muted { (UNKNOWN) } }
                    }
                }
            }
        }
        footer.muted {
            a href="openapi.json" { "API" } " · " a href="turns" { "Turns" }
        }
    };
    page::shell("Round robin", &ASSETS, &main)
}

/// The replica that serves, and what was served last.
fn now(snapshot: Option<&Snapshot>) -> Markup {
    let serving = snapshot.and_then(Snapshot::serving).map(|turn| turn.replica.as_str());
    let latest = snapshot.and_then(Snapshot::latest);
    html! {
        div #now {
            section.panel {
                h2 { "Serving now" }
                p.large #serving { (serving.unwrap_or(UNKNOWN)) }
                p.muted #serving_name { (serving.unwrap_or(UNKNOWN)) }
                progress #turn max="1" value="0" aria-label="Part of the turn that is over" {}
            }
            section.panel {
                h2 { "Counter" }
                p.large.number #counter { @match latest.and_then(|it| it.counter) { Some(it) => (it), None => (UNKNOWN) } }
                p.muted #client { (latest.map_or(UNKNOWN, |it| it.client_id.as_str())) }
            }
            section.panel {
                h2 { "Message" }
                p.large #message { (latest.and_then(|it| it.message.as_deref()).unwrap_or(UNKNOWN)) }
                p.muted #served_by { (latest.and_then(|it| it.replica.as_deref()).unwrap_or(UNKNOWN)) }
            }
        }
    }
}

fn waiting(snapshot: &Snapshot) -> String {
    format!("{} clients, {} messages waiting", snapshot.client_count, snapshot.waiting)
}

fn row(client: &Client) -> Markup {
    html! {
        li data-client=(client.client_id) {
            b { (client.client_id) }
            span.counter.number { @match client.counter { Some(it) => (it), None => (UNKNOWN) } }
            span.text { (client.message.as_deref().unwrap_or_default()) }
            span.by.muted { (client.replica.as_deref().unwrap_or_default()) }
            span.backlog.number { (client.waiting) " waiting" }
        }
    }
}
