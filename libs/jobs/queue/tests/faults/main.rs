//! A real RabbitMQ that is killed, stopped, disconnected, changed and starved while
//! messages are published and consumed. The library must recover by itself, no call may
//! wait forever, and each confirmed message must be delivered.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod broker;
mod load;
mod network;
mod permissions;
mod policies;

use std::time::Duration;

use jobs_queue::{JobQueue, Message, RabbitMqOptions, RabbitMqQueue};
use testkit::eventually_ok;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Time limit of a recovery, including the start of the broker, on a busy machine.
const SOON: Duration = Duration::from_mins(1);

const OPTIONS_TIMEOUT: Duration = Duration::from_secs(2);

/// The broker of these tests, which only one test uses at a time.
async fn server() -> MutexGuard<'static, testkit::RabbitMq> {
    static SERVER: OnceCell<Mutex<testkit::RabbitMq>> = OnceCell::const_new();
    SERVER.get_or_init(async || Mutex::new(testkit::RabbitMq::start().await)).await.lock().await
}

fn options(name: &str) -> RabbitMqOptions {
    RabbitMqOptions {
        name: name.to_owned(),
        timeout: OPTIONS_TIMEOUT,
        publish_timeout: OPTIONS_TIMEOUT,
        heartbeat: Duration::from_secs(1),
        max_backoff: Duration::from_millis(500),
        ..RabbitMqOptions::default()
    }
}

fn open(url: &str, name: &str) -> RabbitMqQueue {
    RabbitMqQueue::open(url, options(name)).unwrap()
}

/// Publishes a message until it is stored. A quorum queue refuses messages while it has no
/// leader, for example right after its declaration.
async fn publish(queue: &RabbitMqQueue, message: &Message) {
    eventually_ok(SOON, "the message to be stored", async || queue.publish(vec![message.clone()]).await.remove(0))
        .await;
}

/// Number of threads of connections in this process.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "lapin-io-loop").count()
}
