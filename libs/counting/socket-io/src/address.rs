//! The address of a server.

use kit_websocket_client::InvalidAddress;
use url::Url;

/// The address of a server's WebSocket of Engine.IO. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Address(pub(crate) kit_websocket_client::Address);

impl Address {
    /// The WebSocket `/socket.io/` of a server, also below a path.
    ///
    /// # Errors
    /// The address has another scheme than `http`, `https`, `ws` and `wss`, or no host.
    pub fn of(server: &Url) -> Result<Self, InvalidAddress> {
        let address = kit_websocket_client::Address::of(server, "/socket.io/")?;
        Ok(Self(address.with_query(&[("EIO", "4"), ("transport", "websocket")])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_which_protocol_the_client_speaks() {
        for (server, url) in [
            ("http://localhost:5000", "ws://localhost:5000/socket.io/?EIO=4&transport=websocket"),
            ("https://example.com/a/?b=c", "wss://example.com/a/socket.io/?b=c&EIO=4&transport=websocket"),
        ] {
            let address = Address::of(&server.parse().expect("a URL")).expect(server);
            assert_eq!(address.0.url().as_str(), url);
        }
    }
}
