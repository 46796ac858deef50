//! The address of a server's WebSocket.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// The address of a server's WebSocket. Cheap to clone.
#[derive(Clone)]
pub struct Address {
    pub(crate) url: Url,
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    pub(crate) tls: Option<TlsConnector>,
}

/// The URL of a server that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected http://, https://, ws:// or wss:// with a host, not {0}")]
pub struct InvalidAddress(pub String);

impl Address {
    /// The WebSocket at `path`, such as `/ws`, of a server, also below a path of its own. The URL
    /// of the server may end with `path` already.
    ///
    /// # Errors
    /// The URL has another scheme than `http`, `https`, `ws` and `wss`, or no host.
    pub fn of(server: &Url, path: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(server.to_string());
        let is_encrypted = match server.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(invalid()),
        };
        let mut url = server.clone();
        url.set_scheme(if is_encrypted { "wss" } else { "ws" }).map_err(|()| invalid())?;
        let below = url.path().trim_end_matches('/');
        url.set_path(&format!("{}{path}", below.strip_suffix(path.trim_end_matches('/')).unwrap_or(below)));
        url.set_fragment(None);
        let host = url.host().ok_or_else(invalid)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(invalid)?;
        let tls = is_encrypted.then(|| TlsConnector::from(Arc::new(kit_tls::client_config(kit_tls::public_roots()))));
        Ok(Self { url, host, port, tls })
    }

    /// Adds parameters to the query.
    #[must_use]
    pub fn with_query(mut self, parameters: &[(&str, &str)]) -> Self {
        self.url.query_pairs_mut().extend_pairs(parameters);
        self
    }

    /// The URL of the WebSocket.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
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
        for (server, path, url, port) in [
            ("http://localhost:8002", "/ws", "ws://localhost:8002/ws", 8002),
            ("http://localhost:8002/", "/ws", "ws://localhost:8002/ws", 8002),
            ("https://example.com", "/ws", "wss://example.com/ws", 443),
            ("http://example.com/round-robin/", "/ws", "ws://example.com/round-robin/ws", 80),
            ("ws://[::1]:8002/ws#a", "/ws", "ws://[::1]:8002/ws", 8002),
            ("ws://localhost:5000/socket.io", "/socket.io/", "ws://localhost:5000/socket.io/", 5000),
            ("http://a:1/b/socket.io/?c=d", "/socket.io/", "ws://a:1/b/socket.io/?c=d", 1),
        ] {
            let address = Address::of(&server.parse().expect("a URL"), path).expect(server);
            assert_eq!((address.url.as_str(), address.port), (url, port));
        }
        for server in ["ftp://localhost", "unix:/socket"] {
            let error = Address::of(&server.parse().expect("a URL"), "/ws").err();
            assert_eq!(error, Some(InvalidAddress(server.parse::<Url>().expect("a URL").to_string())));
        }
    }

    #[test]
    fn parameters_are_added_to_those_of_the_server() {
        let address = Address::of(&"http://a:1/?b=c".parse().expect("a URL"), "/ws").expect("an address");
        assert_eq!(address.with_query(&[("d", "e&f")]).url().as_str(), "ws://a:1/ws?b=c&d=e%26f");
    }
}
