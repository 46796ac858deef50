//! What every service with HTTP does: a listener with limits, extractors, problem
//! documents, request metrics, pages, and the admin listener.

pub mod admin;
pub mod assets;
pub mod extract;
pub mod http;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod requests;

pub use problem::Problem;
