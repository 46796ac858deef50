//! Policies that an operator sets at the broker. They decide why a message becomes a dead letter.

use jobs_queue::{Death, Delivery, JobQueue, Message, Priority, PublishError, RabbitMqQueue, Rejection};
use testkit::{RabbitMq, eventually, eventually_ok};
use uuid::Uuid;

use crate::{SOON, open, publish, server};

fn message() -> Message {
    Message { job: Uuid::now_v7(), priority: Priority::Default, traceparent: None }
}

/// A queue whose messages are under a policy.
async fn under(server: &RabbitMq, name: &str, policy: &str) -> RabbitMqQueue {
    let pattern = format!("^{name}\\.default$");
    server.ctl(&["set_policy", name, &pattern, policy, "--apply-to", "queues"]).await;
    let queue = open(server.url(), name);
    eventually_ok(SOON, "the queues to be made", async || queue.ping().await).await;
    queue
}

/// The next dead letter.
async fn letter(queue: &RabbitMqQueue) -> Delivery {
    tokio::time::timeout(SOON, queue.dead_letters(1).next()).await.expect("a dead letter in time").unwrap()
}

/// Publishes `count` messages one by one under a policy. The first one dies of `death`.
async fn the_first_dies(name: &str, policy: &str, count: usize, death: Death) {
    let server = server().await;
    let queue = under(&server, name, policy).await;
    let sent: Vec<Message> = (0..count).map(|_| message()).collect();
    for message in &sent {
        publish(&queue, message).await;
    }
    let letter = letter(&queue).await;
    assert_eq!((&letter.message, letter.death), (&sent[0], Some(death)));
    letter.ack();
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_too_long_has_expired() {
    the_first_dies("expiry", r#"{"message-ttl":100}"#, 1, Death::Expired).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_gives_way_to_later_ones_was_over_the_limit() {
    let policy = r#"{"max-length":1,"overflow":"drop-head"}"#;
    the_first_dies("length", policy, 2, Death::LengthLimit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_refused_and_later_taken() {
    let server = server().await;
    let queue = under(&server, "refusing", r#"{"max-length":1,"overflow":"reject-publish"}"#).await;
    eventually(SOON, "a full queue", async || {
        (queue.publish(vec![message()]).await == [Err(PublishError::Refused)]).then_some(())
    })
    .await;
    server.ctl(&["clear_policy", "refusing"]).await;
    publish(&queue, &message()).await;
    assert_eq!(queue.depth().await.unwrap().dead_letters, 0);
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_back_too_often_is_over_the_delivery_limit() {
    let server = server().await;
    let queue = under(&server, "poison", r#"{"delivery-limit":1}"#).await;
    let sent = message();
    publish(&queue, &sent).await;
    let mut consumer = queue.consume(1);
    for _ in 0..2 {
        let delivery = tokio::time::timeout(SOON, consumer.next()).await.expect("a message in time").unwrap();
        delivery.reject(Rejection::Requeue);
    }
    let letter = letter(&queue).await;
    assert_eq!((&letter.message, letter.death), (&sent, Some(Death::DeliveryLimit)));
    letter.ack();
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_arrive_although_a_policy_sends_them_elsewhere() {
    let server = server().await;
    let queue = under(&server, "elsewhere", r#"{"dead-letter-exchange":"nowhere","message-ttl":100}"#).await;
    let sent = message();
    publish(&queue, &sent).await;
    let letter = letter(&queue).await;
    assert_eq!((&letter.message, letter.death), (&sent, Some(Death::Expired)));
    letter.ack();
    queue.close().await;
}
