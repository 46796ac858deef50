//! The page of jobs and queues.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use kit_web::assets::{Asset, Kind};
use kit_web::live::Settings;
use kit_web::{http, page};
use maud::{Markup, html};

use crate::api::State;
use crate::live::Snapshot;

const ASSETS: [Asset; 4] = [
    page::LIVE,
    page::CHARTS,
    Asset::new(Kind::Script, "/static/jobs.js", include_str!("jobs.js")),
    Asset::new(Kind::Style, "/static/jobs.css", include_str!("jobs.css")),
];

/// Shown in place of an unknown number.
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
                h1 { "Jobs" }
                p.muted { "Each accepted job runs, even if a process or machine fails meanwhile." }
            }
            form.inline #submit {
                label for="count" { "User requests" }
                input #count type="number" name="count" min="1" max="1000" value="10" required;
                button.primary type="submit" { "Submit" }
            }
        }
        (page::status(snapshot.is_none().then_some(Settings::DATABASE.unavailable)))
        main {
            section.panel #overview {
                h2 { "Jobs by status" }
                div #shares {}
                dl {
                    (count("queued", "Queued", snapshot.map(|it| it.queued)))
                    (count("running", "Running", snapshot.map(|it| it.running)))
                    (count("retry_wait", "Waiting to retry", snapshot.map(|it| it.retry_wait)))
                    (count("failed", "Failed", snapshot.map(|it| it.failed)))
                    (oldest_waiting(snapshot))
                }
            }
            div #rates {
                (rate("accepted", "Accepted", snapshot.map(|it| it.accepted_rate)))
                (rate("succeeded", "Succeeded", snapshot.map(|it| it.succeeded_rate)))
                (rate("failed", "Failed", snapshot.map(|it| it.failed_rate)))
            }
            section.panel {
                h2 { "Newest jobs over time" }
                ul.legend {
                    li.queued { "Queued" }
                    li.running { "Running" }
                    li.succeeded { "Succeeded" }
                    li.retry_wait { "Waiting to retry" }
                    li.failed { "Failed or cancelled" }
                }
                div #timeline {}
            }
            section.panel {
                h2 { "Messages in the broker" }
                ul #queues { li.muted { (UNKNOWN) } }
            }
            (list("running_jobs", "Running"))
            (list("failed_jobs", "Failed"))
            (list("recent_jobs", "Newest"))
        }
        footer.muted {
            a href="openapi.json" { "API" } " · " a href="jobs" { "Jobs" } " · "
            a href="jobs?status=failed" { "Failed jobs" }
        }
    };
    page::shell("Jobs", &ASSETS, &main)
}

fn count(id: &str, name: &str, count: Option<u64>) -> Markup {
    html! {
        div {
            dt.(id) { (name) }
            dd.number id=(id) { @if let Some(count) = count { (count) } @else { (UNKNOWN) } }
        }
    }
}

fn oldest_waiting(snapshot: Option<&Snapshot>) -> Markup {
    html! {
        div {
            dt { "Oldest waiting" }
            dd.number #oldest_waits {
                @if let Some(snapshot) = snapshot { (format!("{:.1} s", snapshot.oldest_waits)) } @else { (UNKNOWN) }
            }
        }
    }
}

fn rate(id: &str, name: &str, rate: Option<f64>) -> Markup {
    html! {
        section.panel.(id) {
            h2 { (name) " per second" }
            p.number {
                span id={ (id) "_rate" } { @if let Some(rate) = rate { (format!("{rate:.1}")) } @else { (UNKNOWN) } }
                small id={ (id) "_peak" } {}
            }
            div id={ (id) "_history" } {}
        }
    }
}

fn list(id: &str, title: &str) -> Markup {
    html! {
        section.panel.jobs {
            h2 { (title) }
            ul id=(id) { li.muted { (UNKNOWN) } }
        }
    }
}
