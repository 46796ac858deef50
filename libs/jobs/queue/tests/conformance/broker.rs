//! RabbitMQ only: users change and delete exchanges, queues and bindings.

use std::collections::BTreeSet;
use std::time::Duration;

use jobs_queue::{
    Delivery, InvalidUrl, JobQueue, Message, Priority, PublishError, RabbitMqOptions, RabbitMqQueue, Rejection,
};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use testkit::{eventually, eventually_ok};
use uuid::Uuid;

use crate::backend::{Backend, SOON, assert_same, message, messages, next, options, take};

/// Publishes until the message is stored, whatever the errors before.
async fn publish_at_last(backend: &Backend, message: &Message) {
    let publish = async || backend.queue.publish(vec![message.clone()]).await.remove(0);
    eventually_ok(SOON, "the message to be stored", publish).await;
}

#[tokio::test]
async fn a_deleted_binding_is_noticed_and_made_again() {
    let backend = Backend::rabbitmq("binding").await;
    // After these, no queue refuses a message.
    let warmup = Priority::ALL.map(message);
    backend.publish(&warmup).await;
    let (_connection, user) = backend.user().await;
    let (queue, exchange) = (format!("{}.default", backend.name()), backend.name().to_owned());
    user.queue_unbind(queue.into(), exchange.into(), "default".into(), FieldTable::default()).await.unwrap();

    // The other messages of the batch are stored all the same.
    let batch = [message(Priority::High), message(Priority::Default), message(Priority::Low)];
    let outcomes = backend.queue.publish(batch.to_vec()).await;
    assert_eq!(outcomes, [Ok(()), Err(PublishError::Unroutable), Ok(())]);
    publish_at_last(&backend, &batch[1]).await;

    let mut sent = batch.to_vec();
    sent.extend(warmup);
    assert_same(&take(&mut backend.queue.consume(5), 6).await, &sent);
    backend.is_empty().await;
    backend.clean_up().await;
}

/// Confirms and returned messages of many concurrent batches are matched to their
/// messages.
#[tokio::test]
async fn of_many_at_once_exactly_the_unroutable_are_reported() {
    let backend = Backend::rabbitmq("returns").await;
    backend.publish(&messages(1, Priority::High)).await;
    let (_connection, user) = backend.user().await;
    let exchange = backend.name().to_owned();
    // All messages fit into a queue, even before a consumer takes any.
    let batches: Vec<Vec<Message>> = (0..15)
        .map(|_| (0..9).map(|place| message(if place % 3 == 0 { Priority::Low } else { Priority::High })).collect())
        .collect();
    let queue = format!("{}.low", backend.name());
    user.queue_unbind(queue.into(), exchange.into(), "low".into(), FieldTable::default()).await.unwrap();
    let mut consumer = backend.queue.consume(50);
    let publishing = batches.iter().map(|batch| backend.queue.publish(batch.clone()));
    let outcomes = futures_util::future::join_all(publishing).await;

    let mut stored: BTreeSet<Uuid> = BTreeSet::new();
    let mut unroutable = 0;
    for (message, outcome) in batches.iter().flatten().zip(outcomes.into_iter().flatten()) {
        match (message.priority, outcome) {
            (_, Ok(())) => drop(stored.insert(message.job)),
            // After the first unroutable messages, the binding is declared again.
            (Priority::Low, Err(PublishError::Unroutable)) => unroutable += 1,
            // The queue had no leader yet.
            (_, Err(PublishError::Refused)) => {}
            (priority, outcome) => panic!("{priority:?}: {outcome:?}"),
        }
    }
    assert!(unroutable > 0);
    let received = take(&mut consumer, stored.len() + 1).await;
    let received: BTreeSet<Uuid> = received.iter().map(|message| message.job).collect();
    assert!(stored.is_subset(&received), "all that was confirmed is there");
    backend.is_empty().await;
    backend.clean_up().await;
}

#[tokio::test]
async fn deleted_queues_are_made_again_while_they_are_consumed() {
    let often = |options| RabbitMqOptions { repair_interval: Duration::from_millis(500), ..options };
    let backend = Backend::rabbitmq_with("queues", often).await;
    let mut consumer = backend.queue.consume(5);
    // Each queue has a consumer before it is deleted, since the broker does not answer a
    // consumer that subscribes during the deletion.
    backend.publish(&Priority::ALL.map(message)).await;
    let held = [next(&mut consumer).await, next(&mut consumer).await, next(&mut consumer).await];
    let (_connection, user) = backend.user().await;
    for queue in ["default", "low"] {
        let queue = format!("{}.{queue}", backend.name());
        user.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }
    // Settling messages of deleted queues has no effect.
    held.into_iter().for_each(Delivery::ack);
    for priority in Priority::ALL {
        let message = message(priority);
        publish_at_last(&backend, &message).await;
        assert_eq!(take(&mut consumer, 1).await, [message]);
    }
    backend.is_empty().await;
    backend.clean_up().await;
}

#[tokio::test]
async fn the_queue_of_dead_letters_is_made_again_while_it_is_consumed() {
    let backend = Backend::rabbitmq("dead").await;
    let (mut consumer, mut dead) = (backend.queue.consume(5), backend.queue.dead_letters(5));
    let [first, second] = [message(Priority::High), message(Priority::High)];
    backend.publish(std::slice::from_ref(&first)).await;
    next(&mut consumer).await.reject(Rejection::DeadLetter);
    assert_eq!(take(&mut dead, 1).await, [first]);

    let (_connection, user) = backend.user().await;
    let queue = format!("{}.dead", backend.name());
    user.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    // The broker would retry a dead letter without a queue only minutes later.
    user.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    eventually(SOON, "a way for dead letters", async || {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = format!("{}.dlx", backend.name());
        let publishing = user.basic_publish(exchange.into(), "high".into(), options, b"x", BasicProperties::default());
        publishing.await.unwrap().await.unwrap().take_message().is_none().then_some(())
    })
    .await;
    backend.publish(std::slice::from_ref(&second)).await;
    next(&mut consumer).await.reject(Rejection::DeadLetter);
    assert_eq!(take(&mut dead, 1).await, [second]);
    backend.is_empty().await;
    backend.clean_up().await;
}

#[tokio::test]
async fn deleted_queues_are_declared_again_without_traffic() {
    let backend = Backend::rabbitmq("depth").await;
    backend.is_empty().await;
    let (_connection, user) = backend.user().await;
    let queue = format!("{}.high", backend.name());
    user.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    assert_eq!(backend.queue.depth().await.unwrap().waiting(), 0);
    backend.clean_up().await;
}

#[tokio::test]
async fn what_others_put_into_a_queue_does_no_harm() {
    let backend = Backend::rabbitmq("garbage").await;
    backend.is_empty().await;
    let (_connection, user) = backend.user().await;
    let by_hand = Uuid::now_v7();
    for body in [&b"no id"[..], b"", by_hand.to_string().as_bytes()] {
        for queue in ["low", "dead"] {
            let (queue, plain) = (format!("{}.{queue}", backend.name()), BasicProperties::default());
            let publishing = user.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, plain);
            publishing.await.unwrap().await.unwrap();
        }
    }
    let (mut consumer, mut dead) = (backend.queue.consume(5), backend.queue.dead_letters(5));
    let expected = Message { job: by_hand, priority: Priority::Low, traceparent: None };
    assert_eq!(take(&mut consumer, 1).await, [expected]);
    assert_eq!(take(&mut dead, 1).await[0].job, by_hand);
    backend.is_empty().await;
    backend.clean_up().await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_used_as_it_is() {
    let server = testkit::RabbitMq::shared().await;
    let name = server.prefix("otherwise").trim_end_matches('.').to_owned();
    let backend = {
        let connection =
            lapin::Connection::connect(server.url(), lapin::ConnectionProperties::default()).await.unwrap();
        let user = connection.create_channel().await.unwrap();
        let queue = format!("{name}.default");
        user.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
        Backend::rabbitmq_at(server.url(), options(name))
    };
    let sent = messages(3, Priority::Default);
    backend.publish(&sent).await;
    assert_same(&take(&mut backend.queue.consume(5), 3).await, &sent);
    backend.clean_up().await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let server = testkit::RabbitMq::shared().await;
    let (_, host) = server.url().split_once('@').unwrap();
    let url = format!("amqp://nobody:wrong@{host}");
    let options = RabbitMqOptions { publish_timeout: Duration::from_millis(500), ..unused_options() };
    let queue = RabbitMqQueue::open(&url, options).unwrap();
    eventually_ok(SOON, "the reason", async || match queue.publish(messages(1, Priority::Low)).await.remove(0) {
        Err(PublishError::Unavailable(reason)) if reason.0.contains("ACCESS_REFUSED") => Ok(()),
        outcome => Err(format!("{outcome:?}")),
    })
    .await;
    queue.close().await;
    assert!(matches!(RabbitMqQueue::open("http://broker", unused_options()), Err(InvalidUrl::Scheme)));
}

fn unused_options() -> RabbitMqOptions {
    options("unused".to_owned())
}
