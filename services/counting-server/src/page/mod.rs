//! The page: the count as it happens, the two clients, and what happened.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use kit_web::assets::{Asset, Kind};
use kit_web::{http, page};
use maud::{Markup, html};

use crate::api::State;
use crate::live::{RoleState, SETTINGS, Snapshot};

const ASSETS: [Asset; 4] = [
    page::LIVE,
    page::CHARTS,
    Asset::new(Kind::Script, "/static/counting.js", include_str!("counting.js")),
    Asset::new(Kind::Style, "/static/counting.css", include_str!("counting.css")),
];

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
                h1 { "Counting" }
                p.muted { "Two clients count together: one the odd numbers, the other the even ones." }
            }
        }
        (page::status(snapshot.is_none().then_some(SETTINGS.unavailable)))
        main {
            section.panel #now {
                div {
                    p #state.(snapshot.map_or("stopped", state_class)) { (snapshot.map_or("–", state_text)) }
                    p.number #last { @match snapshot.and_then(|it| it.last_number) { Some(it) => (it), None => "–" } }
                    p #words { (snapshot.and_then(|it| it.latest.first()).map_or("nothing yet", |it| it.words.as_str())) }
                }
                div #rate {}
            }
            p.panel #error hidden[snapshot.is_none_or(|it| it.error.is_none())] role="alert" {
                @if let Some(error) = snapshot.and_then(|it| it.error.as_deref()) { (error) }
            }
            div #clients {
                @for client in snapshot.iter().flat_map(|it| &it.clients) { (card(client)) }
            }
            section.panel {
                h2 { "Last numbers" }
                ol #latest {
                    @for number in snapshot.iter().flat_map(|it| &it.latest) {
                        li.(if number.number % 2 == 1 { "client1" } else { "client2" }) {
                            b.number { (number.number) } " " span { (number.words) }
                        }
                    }
                }
            }
            section.panel {
                h2 { "What happened" }
                ul #happenings {
                    @for happening in snapshot.iter().flat_map(|it| &it.happenings) {
                        li.(happening.kind) { span { (happening.text) } }
                    }
                }
            }
        }
        footer.muted {
            a href="openapi.json" { "API" } " · " a href="asyncapi.json" { "Events" } " · " a href="numbers" { "Numbers" }
            " · " a href="health" { "Health" }
        }
    };
    page::shell("Counting", &ASSETS, &main)
}

/// The card of a role.
fn card(client: &RoleState) -> Markup {
    html! {
        section.panel.client.(client.client_id).away[client.holder.is_none()] data-client=(client.client_id) {
            h2 { (client.client_id) }
            p.about { @if client.holder.is_some() { "connected" } @else { "not connected" } }
            p.sent.number { (client.last_number) }
        }
    }
}

const fn state_class(snapshot: &Snapshot) -> &'static str {
    match snapshot {
        Snapshot { error: Some(_), .. } => "failing",
        Snapshot { counting: true, .. } => "counting",
        _ => "stopped",
    }
}

fn state_text(snapshot: &Snapshot) -> &'static str {
    let [first, second] = &snapshot.clients;
    match (state_class(snapshot), &first.holder, &second.holder) {
        ("failing", ..) => "Numbers cannot be stored",
        ("counting", ..) => "Counting",
        (_, None, None) => "Waiting for two clients",
        (_, None, _) => "Waiting for client1",
        (_, _, None) => "Waiting for client2",
        _ => "Stopped",
    }
}
