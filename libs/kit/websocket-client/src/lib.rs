//! Opens WebSockets to a server, encrypted or not, and paces the attempts to open them again.

mod address;
mod backoff;
mod connect;

pub use address::{Address, InvalidAddress};
pub use backoff::Backoff;
pub use connect::{OpenError, Stream, WebSocket};
