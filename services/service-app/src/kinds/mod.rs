//! The kinds of jobs.

mod http;
mod user_request;

pub use http::Http;
pub use user_request::UserRequest;
