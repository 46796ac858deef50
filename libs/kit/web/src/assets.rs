//! Style sheets, scripts and icons, compiled into the binary.

use std::io::Write;

use axum::Router;
use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Content up to this length, in bytes, is not compressed, since it fits into one packet.
pub(crate) const PACKET: usize = 1400;

/// A file that is compiled into the binary.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Path from the root of the service.
    pub path: &'static str,
    /// Determines the media type, and the element that links to the asset.
    pub kind: Kind,
    /// The content.
    pub content: &'static str,
    /// Hash of the content.
    version: u64,
}

/// The kinds of assets that pages link to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An SVG icon for the browser's tab.
    Icon,
    /// JavaScript.
    Script,
    /// CSS.
    Style,
}

impl Kind {
    /// The media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Icon => "image/svg+xml",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
        }
    }
}

impl Asset {
    /// An asset that is served at `path`. The version is computed at compile time where
    /// the result is a constant.
    #[must_use]
    pub const fn new(kind: Kind, path: &'static str, content: &'static str) -> Self {
        Self { path, kind, content, version: hash(content.as_bytes()) }
    }

    /// The link for pages: relative, so that it works behind any path prefix, and with the
    /// version, so that browsers may keep the asset for good.
    #[must_use]
    pub fn href(&self) -> String {
        format!("{}?{:016x}", self.path.trim_start_matches('/'), self.version)
    }
}

/// Serves `assets`. A request with the current version in its query is answered as
/// immutable; for others, clients have to revalidate.
pub fn router(assets: &[Asset]) -> Router {
    assets.iter().fold(Router::new(), |router, asset| {
        let file = File::new(asset.kind.content_type(), asset.content.as_bytes());
        router.route(asset.path, get(async move |query, headers: HeaderMap| file.respond(&query, &headers)))
    })
}

/// A response body that never changes while the process runs, compressed once.
#[derive(Debug, Clone)]
pub(crate) struct File {
    content_type: &'static str,
    version: String,
    plain: Bytes,
    gzip: Option<Bytes>,
}

impl File {
    pub(crate) fn new(content_type: &'static str, content: &[u8]) -> Self {
        let version = format!("{:016x}", hash(content));
        Self { content_type, version, plain: Bytes::copy_from_slice(content), gzip: gzip(content) }
    }

    pub(crate) fn respond(&self, RawQuery(query): &RawQuery, headers: &HeaderMap) -> Response {
        let compressed = self.gzip.as_ref().filter(|_| accepts_gzip(headers));
        let etag = format!("\"{}{}\"", self.version, if compressed.is_some() { "-gzip" } else { "" });
        // During an upgrade, a page may come from one release and its assets from
        // another: a client may cache only the version that its page requested.
        let is_version = query.as_deref() == Some(&self.version);
        let caching = if is_version { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut response = if is_known(headers, &etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let body = compressed.unwrap_or(&self.plain).clone();
            ([(header::CONTENT_TYPE, self.content_type)], body).into_response()
        };
        let is_body = response.status() == StatusCode::OK;
        let own = response.headers_mut();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                own.insert(name, value);
            }
        };
        set(header::ETAG, &etag);
        set(header::CACHE_CONTROL, caching);
        if self.gzip.is_some() {
            set(header::VARY, "accept-encoding");
        }
        if compressed.is_some() && is_body {
            set(header::CONTENT_ENCODING, "gzip");
        }
        response
    }
}

/// Whether the client has the content of `etag`.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|tags| tags.split(',')).map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|codings| codings.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = quality.trim().strip_prefix("q=").map_or(Ok(1.0), |quality| quality.trim().parse::<f32>());
        matches!(name.trim(), "gzip" | "*") && quality.is_ok_and(|quality| quality > 0.0)
    })
}

/// The compressed content, if it is at least a tenth smaller.
fn gzip(content: &[u8]) -> Option<Bytes> {
    if content.len() <= PACKET {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    let compressed = encoder.finish().ok()?;
    (compressed.len() < content.len() * 9 / 10).then(|| compressed.into())
}

/// FNV-1a, which is the same in every replica and release. The loop can be evaluated in
/// constants.
const fn hash(content: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut index = 0;
    while index < content.len() {
        hash = (hash ^ content[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::body::Body;
    use axum::http::Request;
    use flate2::read::GzDecoder;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    const TEXT: &str = include_str!("style.css");
    const LARGE: Asset = Asset::new(Kind::Style, "/static/large.css", TEXT);
    const SMALL: Asset = Asset::new(Kind::Style, "/static/small.css", "a { }");

    async fn ask(path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
        let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
        let response = router(&[LARGE, SMALL]).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn large_assets_are_compressed_for_clients_that_accept_it() {
        for accepted in ["gzip, deflate, br", "br;q=1.0, gzip;q=0.8, *;q=0.1", "*"] {
            let (status, headers, body) = ask(LARGE.path, &[("accept-encoding", accepted)]).await;
            assert_eq!(
                (status.as_u16(), &headers["content-encoding"], &headers["vary"]),
                (200, &"gzip".parse().unwrap(), &"accept-encoding".parse().unwrap())
            );
            let mut text = String::new();
            GzDecoder::new(&*body).read_to_string(&mut text).unwrap();
            assert_eq!(text, TEXT);
            assert!(body.len() * 2 < TEXT.len(), "{} of {}", body.len(), TEXT.len());
        }
        for refused in ["", "br", "gzip;q=0", "identity"] {
            let (_, headers, body) = ask(LARGE.path, &[("accept-encoding", refused)]).await;
            assert!(headers.get("content-encoding").is_none() && body == TEXT, "{refused}");
        }
        let (_, headers, body) = ask(SMALL.path, &[("accept-encoding", "gzip")]).await;
        assert!(headers.get("content-encoding").is_none() && body == SMALL.content);
    }

    #[tokio::test]
    async fn content_that_a_client_has_is_not_sent_again() {
        for accepted in ["gzip", "identity"] {
            let (_, headers, _) = ask(LARGE.path, &[("accept-encoding", accepted)]).await;
            let etag = headers["etag"].to_str().unwrap().to_owned();
            for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
                let (status, headers, body) =
                    ask(LARGE.path, &[("accept-encoding", accepted), ("if-none-match", &known)]).await;
                assert_eq!((status.as_u16(), body.len()), (304, 0), "{known}");
                assert_eq!(headers["etag"].to_str().unwrap(), etag);
            }
            let (status, ..) = ask(LARGE.path, &[("accept-encoding", accepted), ("if-none-match", "\"other\"")]).await;
            assert_eq!(status, 200);
        }
    }

    #[tokio::test]
    async fn only_the_current_version_is_immutable() {
        let caching = async |path: &str| ask(path, &[]).await.1["cache-control"].to_str().unwrap().to_owned();
        assert!(caching(&format!("/{}", LARGE.href())).await.contains("immutable"));
        assert_eq!(caching(LARGE.path).await, "no-cache");
        assert_eq!(caching("/static/large.css?0123456789abcdef").await, "no-cache");
    }
}
