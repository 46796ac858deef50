//! The HTML frame around every page, and the assets that pages share.

use axum::Router;
use maud::{DOCTYPE, Markup, html};

use crate::assets::{self, Asset, Kind};

/// The style sheet that every page links to.
pub const STYLE: Asset = Asset::new(Kind::Style, "/static/style.css", include_str!("style.css"));

/// The icon in the browser's tab.
const ICON: Asset = Asset::new(Kind::Icon, "/static/icon.svg", include_str!("icon.svg"));

/// Script for pages with an [event stream](crate::live): connects, reconnects, and shows
/// the state of the connection in the element of [`status`].
pub const LIVE: Asset = Asset::new(Kind::Script, "/static/live.js", include_str!("live.js"));

/// Script that draws charts as SVG.
pub const CHARTS: Asset = Asset::new(Kind::Script, "/static/charts.js", include_str!("charts.js"));

/// An HTML page around `main`: light and dark as the browser prefers, usable at phone
/// width, without requests to other hosts. It links to `assets`, scripts in this order.
#[must_use]
pub fn shell(title: &str, assets: &[Asset], main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                (link(&ICON))
                (link(&STYLE))
                @for asset in assets { (link(asset)) }
            }
            body {
                (main)
            }
        }
    }
}

fn link(asset: &Asset) -> Markup {
    let href = asset.href();
    html! {
        @match asset.kind {
            Kind::Icon => { link rel="icon" type=(asset.kind.content_type()) href=(href); }
            Kind::Style => { link rel="stylesheet" href=(href); }
            Kind::Script => { script src=(href) defer {} }
        }
    }
}

/// The element in which [`LIVE`] shows the state of the connection, and the errors of
/// requests that a user made. `unavailable` is the initial state if there is no snapshot.
#[must_use]
pub fn status(unavailable: Option<&str>) -> Markup {
    html! {
        p #status.unavailable[unavailable.is_some()] role="status" { (unavailable.unwrap_or("Connecting")) }
        p #notice role="alert" hidden {}
    }
}

/// Serves the assets of every page, and `own`: the same assets as for [`shell`].
pub fn files(own: &[Asset]) -> Router {
    assets::router(&[STYLE, ICON]).merge(assets::router(own))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn every_link_carries_its_version_and_is_immutable() {
        let own = [LIVE, CHARTS];
        let page = shell("A page", &own, &html! { main {} }).into_string();
        let links: Vec<&str> = page.split('"').filter(|text| text.starts_with("static/")).collect();
        assert_eq!(links.len(), 4, "{page}");
        for link in links {
            let request = Request::get(format!("/{link}")).body(Body::empty()).unwrap();
            let response = files(&own).oneshot(request).await.unwrap();
            assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable", "{link}");
        }
    }
}
