//! The frame around every page, and the style that all pages share.

use axum::Router;
use maud::{DOCTYPE, Markup, html};

use crate::assets::{self, Asset};

/// The style sheet that [`shell`] links to.
pub const STYLE: Asset =
    Asset { path: "/static/style.css", content_type: "text/css; charset=utf-8", content: include_str!("style.css") };

/// The icon in a browser's tab.
const ICON: Asset =
    Asset { path: "/static/icon.svg", content_type: "image/svg+xml", content: include_str!("icon.svg") };

/// A whole page around `main`: light and dark as the reader prefers, usable at
/// phone width, without any request to another host. `styles` and `scripts` are
/// [links](Asset::href).
#[must_use]
pub fn shell(title: &str, styles: &[&str], scripts: &[&str], main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" type="image/svg+xml" href=(ICON.href());
                link rel="stylesheet" href=(STYLE.href());
                @for style in styles {
                    link rel="stylesheet" href=(style.trim_start_matches('/'));
                }
                @for script in scripts {
                    script src=(script.trim_start_matches('/')) defer {}
                }
            }
            body {
                (main)
            }
        }
    }
}

/// Serves the shared style and a page's own files.
pub fn files(own: &[Asset]) -> Router {
    assets::router(&[STYLE, ICON]).merge(assets::router(own))
}
