//! The page of queues and jobs.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use kit_web::assets::Asset;
use kit_web::page;
use maud::{Markup, html};

use crate::api::State;
use crate::live::Snapshot;

const SCRIPT: Asset =
    Asset { path: "/static/jobs.js", content_type: "text/javascript; charset=utf-8", content: include_str!("jobs.js") };

const STYLE: Asset =
    Asset { path: "/static/jobs.css", content_type: "text/css; charset=utf-8", content: include_str!("jobs.css") };

pub(crate) fn router(state: State) -> Router {
    page::files(&[SCRIPT, STYLE]).merge(Router::new().route("/", get(index)).with_state(state))
}

/// The page as it is now; from then on the script follows the events.
async fn index(Shared(state): Shared<State>) -> Markup {
    let snapshot = Snapshot::read(state.store.as_ref(), &state.stats).await.ok();
    let number = |of: fn(&Snapshot) -> u64| snapshot.as_ref().map_or_else(|| "–".to_owned(), |it| of(it).to_string());
    let main = html! {
        header.bar {
            div {
                h1 { "Jobs" }
                p.muted { "What is accepted here is run once, whatever dies meanwhile." }
            }
            form.inline #submit {
                label for="count" { "User requests" }
                input #count type="number" name="count" min="1" max="1000" value="10" required;
                button.primary type="submit" { "Submit" }
            }
        }
        @if snapshot.is_some() {
            p #status role="status" {}
        } @else {
            p #status.bad role="status" { "The database does not answer; trying again." }
        }
        main {
            dl #counts {
                (count("queued", "waiting", &number(|it| it.queued)))
                (count("running", "running", &number(|it| it.running)))
                (count("retry_wait", "between attempts", &number(|it| it.retry_wait)))
                (count("failed", "failed", &number(|it| it.failed)))
                (count("oldest_waits", "oldest waits", "–"))
                (count("accepted_rate", "accepted a second", "–"))
                (count("succeeded_rate", "succeeded a second", "–"))
                (count("failed_rate", "failed a second", "–"))
            }
            section.panel {
                h2 { "Messages in the broker" }
                ul #queues { li.muted { "–" } }
            }
            (table("running_jobs", "Running"))
            (table("failed_jobs", "Failed"))
            (table("recent_jobs", "Newest"))
        }
        footer.muted {
            a href="openapi.json" { "API" } " · " a href="jobs" { "jobs" } " · "
            a href="jobs?status=failed" { "failed jobs" }
        }
    };
    page::shell("Jobs", &[STYLE.path], &[SCRIPT.path], &main)
}

fn count(id: &str, name: &str, value: &str) -> Markup {
    html! { div.panel { dt { (name) } dd.number id=(id) { (value) } } }
}

fn table(id: &str, title: &str) -> Markup {
    html! {
        section.panel.jobs {
            h2 { (title) }
            ul id=(id) { li.muted { "–" } }
        }
    }
}
