//! Faults of the network, and changes that users make at the broker.

use lapin::options::ConfirmSelectOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use testkit::{Proxy, Server, eventually, eventually_ok};
use uuid::Uuid;

use crate::load::Load;
use crate::{SOON, open, server, threads};
use jobs_queue::{Delivery, JobQueue, Message, Priority};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_breaks_in_any_way_loses_nothing() {
    let server = server().await;
    let proxy = Proxy::to(server.url()).await;
    let load = Load::start(&proxy.url(server.url()), "network");
    load.progress("the start").await;
    for _ in 0..3 {
        proxy.reset();
        load.progress("a reset").await;
    }
    proxy.cut();
    load.failures("unavailable", 10).await;
    proxy.heal();
    load.progress("a cut").await;
    proxy.lose_replies();
    load.failures("unavailable", 10).await;
    proxy.heal();
    load.progress("lost replies").await;
    proxy.black_hole();
    load.failures("unavailable", 30).await;
    eventually(SOON, "the threads of failed attempts to end", async || (threads() <= 2).then_some(())).await;
    proxy.heal();
    load.progress("a black hole").await;
    load.finish("network").await;
}

/// lapin may never complete a settlement that is sent while its connection breaks. A
/// subscription that waited for it would not subscribe again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_while_messages_are_settled_is_replaced_for_each_priority() {
    const ROUNDS: usize = 20;
    const PREFETCH: u16 = 20;
    let server = server().await;
    let proxy = Proxy::to(server.url()).await;
    let (feeder, queue) = (open(server.url(), "settling"), open(&proxy.url(server.url()), "settling"));
    let mut consumer = queue.consume(PREFETCH);
    for round in 0..ROUNDS {
        for priority in Priority::ALL {
            let message = || Message { job: Uuid::now_v7(), priority, traceparent: None };
            let messages: Vec<Message> = (0..PREFETCH).map(|_| message()).collect();
            eventually_ok(SOON, "the messages to be stored", async || {
                feeder.publish(messages.clone()).await.into_iter().collect::<Result<Vec<()>, _>>()
            })
            .await;
        }
        // This number arrives only if all three subscriptions work.
        let mut held: Vec<Delivery> = Vec::new();
        while held.len() < usize::from(PREFETCH) * Priority::ALL.len() {
            let next = tokio::time::timeout(SOON, consumer.next()).await;
            let next = next.unwrap_or_else(|_| panic!("round {round}: {} messages arrived", held.len()));
            held.push(next.unwrap());
        }
        proxy.reset();
        // The settlements spread over the end of the connection.
        for delivery in held {
            delivery.ack();
            tokio::task::yield_now().await;
        }
    }
    queue.close().await;
    feeder.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_that_is_deleted_under_load_loses_nothing() {
    let server = server().await;
    let load = Load::start(server.url(), "binding");
    load.progress("the start").await;
    let connection = Connection::connect(server.url(), ConnectionProperties::default()).await.unwrap();
    let user = connection.create_channel().await.unwrap();
    user.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for priority in ["high", "low", "default"] {
        let queue = format!("binding.{priority}");
        user.queue_unbind(queue.into(), "binding".into(), priority.into(), FieldTable::default()).await.unwrap();
        load.progress("a deleted binding").await;
    }
    connection.close(200, "OK".into()).await.unwrap();
    load.finish("deleted bindings").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_and_dropping_end_in_time_whatever_the_broker_does() {
    let server = server().await;
    let proxy = Proxy::to(server.url()).await;
    let url = proxy.url(server.url());
    let (closed, dropped) = (open(&url, "close"), open(&url, "close"));
    eventually(SOON, "both to be connected", async || {
        (closed.ping().await.is_ok() && dropped.ping().await.is_ok()).then_some(())
    })
    .await;
    let mut consumer = closed.consume(1);
    proxy.black_hole();
    tokio::time::timeout(SOON, closed.close()).await.expect("closed in time");
    assert!(consumer.next().await.is_none());
    drop(dropped);
    eventually(SOON, "the end of all threads", async || (threads() == 0).then_some(())).await;
    server.ping().await.unwrap();
}
