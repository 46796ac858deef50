//! The page.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{FromRequestParts, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use kit_web::assets::{Asset, Kind};
use kit_web::page;
use maud::{Markup, PreEscaped, html};

use crate::{State, api};

const ASSETS: [Asset; 1] = [Asset::new(Kind::Style, "/static/visits.css", include_str!("visits.css"))];

/// Placeholder for the number. Escaped text cannot contain it.
const NUMBER: &str = "<number>";

/// Prefixes of the `User-Agent` of health probes that request `/`.
const PROBES: [&[u8]; 3] = [b"kube-probe/", b"GoogleHC/", b"ELB-HealthChecker/"];

pub(crate) fn router(state: State) -> Router {
    page::files(&ASSETS).merge(Router::new().route("/", get(visit).head(peek)).with_state(state))
}

/// The page, rendered once except for the number.
#[derive(Debug)]
pub struct Page {
    before: String,
    after: String,
    away: String,
}

impl Page {
    /// Renders the page, which names `environment`.
    #[must_use]
    pub fn new(environment: &str) -> Self {
        let page = shell(
            environment,
            &html! {
                h1 { "Hi from " (environment) " environment! Counter: " (PreEscaped(NUMBER)) }
                p.muted { "Only you see this number." }
            },
        );
        let (before, after) = page.split_once(NUMBER).unwrap_or((&page, ""));
        let (before, after) = (before.to_owned(), after.to_owned());
        let away = shell(
            environment,
            &html! {
                h1 { "Hi from " (environment) " environment!" }
                p.bad role="status" { "The counter is not available at the moment. Please try again in a few seconds." }
            },
        );
        Self { before, after, away }
    }

    /// Renders the page for a visit with this number.
    #[must_use]
    pub fn render(&self, number: i64) -> String {
        [&self.before, &*number.to_string(), &self.after].concat()
    }
}

fn shell(environment: &str, greeting: &Markup) -> String {
    let main = html! {
        main.visit {
            section.panel {
                (greeting)
                // The form works without a script, and behind any path prefix.
                form method="get" action="./" { button.primary type="submit" { "Reload" } }
            }
            footer.muted { a href="openapi.json" { "API" } " · " a href="api/counter" { "counter" } }
        }
    };
    page::shell(&format!("Hi from {environment}"), &ASSETS, &main).into_string()
}

/// Counts a visit and shows its number.
async fn visit(Shared(state): Shared<State>, Probe(is_probe): Probe) -> Response {
    if is_probe {
        return api::healthy(&state);
    }
    match state.counter.visit().await {
        Ok(number) => shown(StatusCode::OK, state.page.render(number)),
        Err(_) => shown(StatusCode::SERVICE_UNAVAILABLE, state.page.away.clone()),
    }
}

/// Answers HEAD with the status of GET, without counting.
async fn peek(Shared(state): Shared<State>) -> Response {
    let status = if state.counter.is_up() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Only the length of the body is sent.
    shown(status, state.page.render(0))
}

/// Whether a health probe sent the request.
struct Probe(bool);

impl<S: Sync> FromRequestParts<S> for Probe {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let agent = parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
        Ok(Self(agent.is_some_and(|agent| PROBES.iter().any(|probe| agent.starts_with(probe)))))
    }
}

/// A response that caches must not store, since its number belongs to a single visitor.
fn shown(status: StatusCode, page: String) -> Response {
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Html(page)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_is_one_text_and_the_environment_is_text_only() {
        let text = Page::new("dev").render(7);
        assert!(text.contains("Hi from dev environment! Counter: 7<"), "{text}");
        let text = Page::new("<number><script>\"&").render(i64::MAX);
        let greeting = "Hi from &lt;number&gt;&lt;script&gt;&quot;&amp; environment! Counter: 9223372036854775807<";
        assert!(text.contains(greeting) && !text.contains("<script"), "{text}");
    }

    #[test]
    fn every_link_is_relative() {
        let page = Page::new("dev");
        for text in [page.render(1), page.away] {
            for link in text.split(['"']).filter(|link| link.contains('/') && !link.contains('<')) {
                let is_media_type = link.starts_with("image/");
                assert!(is_media_type || !(link.starts_with('/') || link.contains("//")), "{link}");
            }
        }
    }
}
