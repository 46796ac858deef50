//! HTTP for every service: a listener with limits, extractors, problem documents, request
//! metrics, WebSockets, live pages, and the admin listener.

pub mod admin;
pub mod assets;
pub mod extract;
pub mod http;
pub mod live;
pub mod openapi;
pub mod page;
mod pagination;
pub mod problem;
pub mod requests;
pub mod sse;
pub mod websocket;

pub use pagination::page_of;
pub use problem::Problem;
