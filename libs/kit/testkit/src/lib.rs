//! What the tests of all systems stand on.
//!
//! - [`MariaDb`], [`Redis`] and [`RabbitMq`]: servers that a test may restart,
//!   kill and stop. They are found by `TEST_DATABASE_URL`, `TEST_REDIS_URL` and
//!   `TEST_AMQP_URL`, or else started from the installed binaries, privately, on
//!   free ports and in a temporary folder;
//! - [`Process`]: a program with its output and its signals;
//! - [`Proxy`]: a network that breaks on demand;
//! - [`SqlBackend`] and [`on_every_backend!`]: one test on SQLite and on a server;
//! - [`eventually`]: waiting for something with a deadline;
//! - [`TaskPanic`]: a background task that panics.
//!
//! Everything is gone when the test process has ended, in whatever way it ended.
//! A failure to set something up is a panic that says what is missing: no test
//! is ever skipped.

mod backend;
mod folder;
mod janitor;
mod mariadb;
mod ports;
mod process;
mod programs;
mod proxy;
mod rabbitmq;
mod redis;
mod server;
mod supervision;
mod wait;

pub use backend::SqlBackend;
pub use folder::Folder;
pub use mariadb::{MariaDb, MariaDbOptions, TestDatabase};
pub use ports::free_port;
pub use process::{Launch, Line, Process, Stream};
pub use proxy::Proxy;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;
pub use server::{Private, Server};
pub use supervision::{TaskPanic, assert_supervised};
pub use wait::{eventually, eventually_ok};
