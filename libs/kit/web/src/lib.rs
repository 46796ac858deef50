//! What every service with HTTP shares: a listener with limits, extractors, problem
//! documents, request metrics, pages with live updates, and the admin listener.

pub mod admin;
pub mod assets;
pub mod extract;
pub mod http;
pub mod live;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod requests;
pub mod sse;

pub use problem::Problem;
