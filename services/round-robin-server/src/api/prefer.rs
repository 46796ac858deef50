//! The header `Prefer` (RFC 7240).

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};

/// The preference of a client that does not wait for its answer.
pub(super) const RESPOND_ASYNC: &str = "respond-async";

/// The response header that names the preference that was followed.
pub(super) const APPLIED: (&str, HeaderValue) = ("preference-applied", HeaderValue::from_static(RESPOND_ASYNC));

/// Whether a client does not wait for its answer.
pub(super) fn is_async(request: &Request) -> bool {
    prefers_async(request.headers())
}

/// Whether the headers contain the preference [`RESPOND_ASYNC`].
pub(super) fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|preference| {
        let name = preference.split([';', '=']).next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case(RESPOND_ASYNC)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(values: &[&'static str]) -> bool {
        let headers = values.iter().map(|value| ("prefer".parse().unwrap(), HeaderValue::from_static(value)));
        prefers_async(&headers.collect())
    }

    #[test]
    fn the_preference_may_be_one_of_several() {
        for values in [
            &["respond-async"][..],
            &["Respond-Async"],
            &["wait=10, respond-async"],
            &["return=minimal", " respond-async ; foo"],
        ] {
            assert!(prefers(values), "{values:?}");
        }
        for values in [&[][..], &[""], &["respond"], &["respond-async-not"], &["wait=respond-async"]] {
            assert!(!prefers(values), "{values:?}");
        }
    }
}
