//! Faults of the broker.

use jobs_queue::{JobQueue, Message, Priority};
use testkit::{Server, eventually, eventually_ok};
use uuid::Uuid;

use crate::load::Load;
use crate::{SOON, open, publish, server, threads};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_or_restarted_loses_nothing() {
    let server = server().await;
    let load = Load::start(server.url(), "crash");
    load.progress("the start").await;
    // RabbitMQ 3.10 does not recover a queue that was declared right before a crash.
    server.restart().await;
    load.progress("a restart").await;
    server.kill();
    load.failures("unavailable", 10).await;
    server.up().await;
    load.progress("a crash").await;
    load.finish("crash and restart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_is_given_up_in_time() {
    let server = server().await;
    let load = Load::start(server.url(), "still");
    load.progress("the start").await;
    server.pause();
    load.failures("unavailable", 40).await;
    load.queue.ping().await.unwrap_err();
    load.queue.depth().await.unwrap_err();
    // Attempts to connect leave no threads behind, since each of them ends at its
    // timeout.
    eventually(SOON, "the threads of failed attempts to end", async || (threads() <= 2).then_some(())).await;
    server.resume();
    load.progress("standing still").await;
    load.finish("standing still").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_short_of_memory_blocks_no_consumer() {
    let server = server().await;
    let load = Load::start(server.url(), "memory");
    load.progress("the start").await;
    server.ctl(&["set_vm_memory_high_watermark", "absolute", "1000000"]).await;
    load.failures("unavailable", 20).await;
    // Only publishing is blocked.
    eventually_ok(SOON, "a depth", async || load.queue.depth().await).await;
    let error = load.queue.ping().await;
    eprintln!("a ping while messages are blocked: {error:?}");
    server.ctl(&["set_vm_memory_high_watermark", "0.9"]).await;
    load.progress("a memory alarm").await;
    load.finish("memory alarm").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_delivered_before_a_crash_is_delivered_again_and_settled_harmlessly() {
    let server = server().await;
    let queue = open(server.url(), "settle");
    eventually_ok(SOON, "the queues to be made", async || queue.ping().await).await;
    // RabbitMQ 3.10 does not recover a queue that was declared right before a crash.
    server.restart().await;
    let mut consumer = queue.consume(5);
    let message = Message { job: Uuid::now_v7(), priority: Priority::Default, traceparent: None };
    publish(&queue, &message).await;
    let before = consumer.next().await.unwrap();
    server.kill();
    server.up().await;
    let after = tokio::time::timeout(SOON, consumer.next()).await.unwrap().unwrap();
    assert_eq!(after.message, message);
    before.ack();
    after.ack();
    eventually(SOON, "an empty queue", async || {
        queue.depth().await.is_ok_and(|depth| depth.waiting() == 0 && depth.dead_letters == 0).then_some(())
    })
    .await;
    queue.close().await;
}
