//! TLS to the broker.

use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use super::address::InvalidUrl;

/// The TLS configuration, and the name that the broker's certificate must have.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) server: ServerName<'static>,
}

impl Tls {
    /// TLS to `host`, whose certificate is signed by one in `ca_file` or by a public one.
    pub(crate) fn new(host: &str, ca_file: Option<&str>) -> Result<Self, InvalidUrl> {
        let server = ServerName::try_from(host.to_owned())
            .or_else(|error| host.parse::<Ipv6Addr>().map(|ip| ServerName::IpAddress(ip.into())).map_err(|_| error))
            .map_err(|_| InvalidUrl::Malformed("its host is not a valid name for a certificate"))?;
        let roots = match ca_file {
            Some(path) => trusted(path)
                .map_err(|reason| InvalidUrl::Certificates { path: path.to_owned(), reason: reason.to_string() })?,
            None => kit_tls::public_roots(),
        };
        let config = Arc::new(kit_tls::client_config(roots));
        Ok(Self { connector: TlsConnector::from(config), server })
    }
}

fn trusted(path: impl AsRef<Path>) -> Result<RootCertStore, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err("there are none".into()) } else { Ok(roots) }
}
