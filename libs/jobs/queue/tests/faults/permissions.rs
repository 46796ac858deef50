//! Users of the broker without the right to configure it.

use clap::Parser;
use jobs_queue::{AmqpArgs, Consumer, JobQueue, Message, Priority, RabbitMqQueue};
use testkit::{RabbitMq, eventually, eventually_ok};
use uuid::Uuid;

use crate::{SOON, open, options, publish, server};

/// Makes a user with these rights to configure, write and read, and returns its URL.
async fn user(server: &RabbitMq, name: &str, rights: [&str; 3]) -> String {
    let [configure, write, read] = rights;
    server.ctl(&["add_user", name, "secret"]).await;
    server.ctl(&["set_permissions", "-p", "/", name, configure, write, read]).await;
    server.url().replace("guest:guest@", &format!("{name}:secret@"))
}

async fn made(url: &str, name: &str) -> RabbitMqQueue {
    let queue = open(url, name);
    eventually_ok(SOON, "the queues to be made", async || queue.ping().await).await;
    queue
}

/// Sends a message of each priority, and receives it. A message of an earlier connection may come
/// again, if that connection ended before the broker had the acknowledgement.
async fn works(queue: &RabbitMqQueue) {
    let sent = Priority::ALL.map(|priority| Message { job: Uuid::now_v7(), priority, traceparent: None });
    eventually_ok(SOON, "the queue to work", async || queue.ping().await).await;
    for message in &sent {
        publish(queue, message).await;
    }
    let mut consumer: Box<dyn Consumer> = queue.consume(5);
    let mut received = Vec::new();
    while !sent.iter().all(|message| received.contains(message)) {
        let delivery = tokio::time::timeout(SOON, consumer.next()).await.unwrap().unwrap();
        received.push(delivery.message.clone());
        delivery.ack();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_configure_uses_what_exists() {
    let server = server().await;
    let owner = made(server.url(), "given").await;
    let url = user(&server, "limited", ["^$", ".*", ".*"]).await;
    let queue = open(&url, "given");
    works(&queue).await;
    queue.close().await;
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_bind_uses_what_is_bound() {
    let server = server().await;
    let owner = made(server.url(), "bound").await;
    let url = user(&server, "sender", ["^$", "^bound$", ".*"]).await;
    let queue = open(&url, "bound");
    works(&queue).await;
    queue.close().await;
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_configure_is_told_what_is_missing_until_it_exists() {
    let server = server().await;
    let url = user(&server, "early", ["^$", ".*", ".*"]).await;
    let queue = open(&url, "later");
    eventually(SOON, "the reason", async || {
        let error = queue.ping().await.err()?.to_string();
        (error.contains("later does not exist") && error.contains("ACCESS_REFUSED")).then_some(())
    })
    .await;
    let owner = made(server.url(), "later").await;
    works(&queue).await;
    queue.close().await;
    owner.close().await;
}

#[derive(Debug, Parser)]
struct Example {
    #[command(flatten)]
    amqp: AmqpArgs,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_may_contain_any_characters() {
    let server = server().await;
    let url = server.url().replace("guest:guest@", "");
    for (number, password) in ["+a/b==", "p@s:w%41?#", "Pässwörter ✓", "$(A) 'c' \"d\" [e]"].into_iter().enumerate()
    {
        let user = format!("u@:/{number}");
        server.ctl(&["add_user", &user, password]).await;
        server.ctl(&["set_permissions", "-p", "/", &user, ".*", ".*", ".*"]).await;
        let (user, password) = (format!("--amqp-user={user}"), format!("--amqp-password={password}"));
        let args = Example::try_parse_from(["test", "--amqp-url", &url, &user, &password]).unwrap();
        let queue = args.amqp.open(options("password")).unwrap();
        works(&queue).await;
        queue.close().await;
    }
}
