//! A small client of Socket.IO: protocol 5 over Engine.IO 4, by WebSocket only.
//!
//! It uses the namespace `/` and text; a server that sends binary data is not understood. A
//! [`Connection`] that has ended stays so: who uses it decides whether and when to connect
//! again.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use counting_socket_io::{Address, Connection, Incoming};
//! use serde_json::{Value, json};
//!
//! let address = Address::of(&"http://localhost:5000".parse()?)?;
//! let mut connection = Connection::open(&address, &Value::Null).await?;
//! connection.emit_with_ack("number", json!({ "client_id": "client1", "number": 1 }), 7)?;
//! loop {
//!     match connection.next().await {
//!         Incoming::Event(event) => println!("{} {:?}", event.name, event.data),
//!         Incoming::Ack(ack) => println!("{} is acknowledged", ack.id),
//!         Incoming::Disconnected(reason) => return Err(reason.into()),
//!     }
//! }
//! # }
//! ```

mod address;
mod connection;
mod error;
pub mod packet;
mod transport;

pub use crate::address::Address;
pub use crate::connection::{Connection, Incoming};
pub use crate::error::{ConnectError, EmitError, Reason};
pub use kit_websocket_client::InvalidAddress;
