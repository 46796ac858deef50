//! HTTP clients for tests. They speak plain HTTP to the tested process.

use kit_tls::RootCertStore;

/// Returns a client with the default settings.
///
/// # Panics
/// When the client cannot be built.
#[must_use]
pub fn http_client() -> reqwest::Client {
    http_client_builder().build().expect("a client of HTTP")
}

/// Returns the builder of a client that uses no proxy and trusts no certificate.
#[expect(clippy::disallowed_methods, reason = "the client receives its TLS configuration")]
pub fn http_client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(kit_tls::client_config(RootCertStore::empty()))
}

/// Sends a `GET` by a new client.
///
/// # Errors
/// When there is no response.
pub async fn http_get(url: impl reqwest::IntoUrl) -> reqwest::Result<reqwest::Response> {
    http_client().get(url).send().await
}
