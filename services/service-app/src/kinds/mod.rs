//! The kinds of jobs there are.

mod http;
mod user_request;

pub use http::Http;
pub use user_request::UserRequest;
