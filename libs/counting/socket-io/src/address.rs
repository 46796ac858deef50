//! The address of a server.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::InvalidAddress;

/// The address of a server's WebSocket.
#[derive(Clone)]
pub struct Address {
    pub(crate) url: Url,
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    pub(crate) tls: Option<TlsConnector>,
}

impl Address {
    /// The WebSocket `/socket.io/` of a server, also below a path.
    ///
    /// # Errors
    /// The address has another scheme than `http`, `https`, `ws` and `wss`, or no host.
    pub fn of(server: &Url) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(server.to_string());
        let is_encrypted = match server.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(invalid()),
        };
        let mut url = server.clone();
        url.set_scheme(if is_encrypted { "wss" } else { "ws" }).map_err(|()| invalid())?;
        let path = url.path().trim_end_matches('/');
        url.set_path(&format!("{}/socket.io/", path.strip_suffix("/socket.io").unwrap_or(path)));
        url.set_fragment(None);
        url.query_pairs_mut().append_pair("EIO", "4").append_pair("transport", "websocket");
        let host = url.host().ok_or_else(invalid)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(invalid)?;
        let tls = is_encrypted.then(|| TlsConnector::from(Arc::new(kit_tls::client_config(kit_tls::public_roots()))));
        Ok(Self { url, host, port, tls })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.url.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_socket_follows_from_that_of_the_server() {
        for (server, url, port) in [
            ("http://localhost:5000", "ws://localhost:5000/socket.io/?EIO=4&transport=websocket", 5000),
            ("https://example.com", "wss://example.com/socket.io/?EIO=4&transport=websocket", 443),
            ("http://example.com/a/", "ws://example.com/a/socket.io/?EIO=4&transport=websocket", 80),
            ("ws://[::1]:5000/socket.io", "ws://[::1]:5000/socket.io/?EIO=4&transport=websocket", 5000),
            ("http://a:1/?b=c#d", "ws://a:1/socket.io/?b=c&EIO=4&transport=websocket", 1),
        ] {
            let address = Address::of(&server.parse().expect("a URL")).expect(server);
            assert_eq!((address.url.as_str(), address.port), (url, port));
        }
        for server in ["ftp://localhost", "unix:/socket"] {
            let error = Address::of(&server.parse().expect("a URL")).err();
            assert_eq!(error, Some(InvalidAddress(server.parse::<Url>().expect("a URL").to_string())));
        }
    }
}
