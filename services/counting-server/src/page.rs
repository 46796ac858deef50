//! The page.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use kit_web::page;
use maud::{Markup, html};

use crate::State;

pub(crate) fn router(state: State) -> Router {
    page::files(&[]).merge(Router::new().route("/", get(index)).with_state(state))
}

async fn index(Shared(state): Shared<State>) -> Markup {
    let main = html! {
        main {
            h1 { (state.greeting) }
            footer.muted { a href="openapi.json" { "API" } }
        }
    };
    page::shell("counting-server", &[], &main)
}
