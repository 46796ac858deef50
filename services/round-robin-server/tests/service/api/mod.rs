//! The HTTP API.

mod bad_input;
mod events;
mod limits;
mod messages;
mod reads;
mod refusals;
mod retention;
