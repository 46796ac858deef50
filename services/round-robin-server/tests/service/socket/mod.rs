//! WebSockets.

mod broken;
pub(crate) mod client;
mod flow;
mod resume;
mod takeover;
