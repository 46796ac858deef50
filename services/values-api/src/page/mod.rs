//! The live picture of workers as columns that fill with ids.

use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use service_kit::assets::Asset;
use service_kit::page;

const SCRIPT: Asset = Asset {
    path: "/static/values.js",
    content_type: "text/javascript; charset=utf-8",
    content: include_str!("values.js"),
};

const STYLE: Asset =
    Asset { path: "/static/values.css", content_type: "text/css; charset=utf-8", content: include_str!("values.css") };

pub(crate) fn router() -> Router {
    page::files(&[SCRIPT, STYLE]).route("/", get(index))
}

async fn index() -> Markup {
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
        p #status role="status" aria-live="polite" { "Connecting …" }
        main #workers aria-label="Workers and their ids" {}
        noscript { p { "This page needs JavaScript; " a href="values" { "/values" } " does not." } }
        footer.muted { a href="openapi.json" { "API" } " · " a href="workers" { "workers" } " · " a href="values" { "values" } }
    };
    page::shell("Values", &[STYLE.path, SCRIPT.path], &main)
}
