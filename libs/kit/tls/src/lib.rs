//! The TLS configuration of outbound connections: rustls with ring.
//!
//! Each connection receives its configuration explicitly, so that no library has to
//! install a process-wide cryptography provider.

use std::sync::Arc;

use rustls::crypto::ring;
pub use rustls::{ClientConfig, RootCertStore};

/// Returns the certificate authorities that browsers trust.
#[must_use]
pub fn public_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// Returns a configuration that accepts servers with a certificate from `roots`, by
/// TLS 1.2 or 1.3.
#[must_use]
pub fn client_config(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
