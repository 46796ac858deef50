//! Servers, processes and network faults for the tests of all systems.
//!
//! - [`MariaDb`], [`Redis`] and [`RabbitMq`]: servers that a test can restart, kill
//!   and pause. A private server is started from the installed binaries, on a free
//!   port and in a temporary folder. `TEST_DATABASE_URL`, `TEST_REDIS_URL` and
//!   `TEST_AMQP_URL` name running servers to use instead.
//! - [`Process`]: a program, its output and its signals.
//! - [`Proxy`]: a network connection that fails on demand.
//! - [`http_client`]: an HTTP client.
//! - [`SqlBackend`] and [`on_every_backend!`]: one test on SQLite and on a server.
//! - [`TaskPanic`]: a background task that panics.
//! - [`eventually`]: waits for a condition with a deadline.
//!
//! When the test process ends, even if it is killed, its processes and folders are
//! removed. If something cannot be set up, the test panics with a message that names
//! what is missing. No test is skipped.

mod backend;
mod folder;
mod http;
mod janitor;
mod mariadb;
mod metrics;
mod ports;
mod process;
mod programs;
mod proxy;
mod rabbitmq;
mod redis;
mod server;
mod supervision;
mod wait;

pub use backend::{SqlBackend, execute};
pub use folder::Folder;
pub use http::{http_client, http_client_builder, http_get};
pub use mariadb::{MariaDb, MariaDbOptions, TestDatabase};
pub use metrics::metric;
pub use ports::free_port;
pub use process::{Launch, Line, Process, Stream};
pub use proxy::{Direction, Proxy};
pub use rabbitmq::RabbitMq;
pub use redis::Redis;
pub use server::{Private, Server};
pub use supervision::{TaskPanic, assert_supervised};
pub use wait::{eventually, eventually_ok};
