//! Consuming: each stored message is delivered until it is settled.

use std::time::Duration;

use jobs_queue::{Priority, Rejection};

use crate::backend::{Backend, SOON, assert_same, message, messages, next, take};
use crate::on_every_backend;

async fn the_urgent_come_first(backend: &Backend) {
    let all: Vec<_> = Priority::ALL.into_iter().rev().flat_map(|priority| messages(30, priority)).collect();
    backend.publish(&all).await;
    let mut consumer = backend.queue.consume(90);
    backend.wait_for_prefetch().await;
    let received = take(&mut consumer, all.len()).await;
    let places = |priority| {
        let places = received.iter().enumerate().filter(|(_, message)| message.priority == priority);
        places.map(|(place, _)| place).sum::<usize>() / 30
    };
    let places = Priority::ALL.map(places);
    assert!(places.is_sorted(), "mean places: {places:?}");
}

async fn what_is_dropped_comes_again(backend: &Backend) {
    let sent = message(Priority::High);
    let mut consumer = backend.queue.consume(1);
    backend.publish(std::slice::from_ref(&sent)).await;
    let first = next(&mut consumer).await;
    assert!(!first.redelivered);
    drop(first);
    let second = next(&mut consumer).await;
    assert!(second.redelivered);
    assert_eq!(second.message, sent);
    // Like a task that panics.
    let panicking = tokio::spawn(async move {
        let _second = second;
        panic!("for the test");
    });
    panicking.await.unwrap_err();
    let third = next(&mut consumer).await;
    assert_eq!(third.message, sent);
    third.ack();
    backend.is_empty().await;
}

async fn what_is_requeued_comes_again(backend: &Backend) {
    let sent = message(Priority::Low);
    let mut consumer = backend.queue.consume(1);
    backend.publish(std::slice::from_ref(&sent)).await;
    next(&mut consumer).await.reject(Rejection::Requeue);
    let again = next(&mut consumer).await;
    assert!(again.redelivered);
    assert_eq!(again.message, sent);
    again.ack();
    backend.is_empty().await;
}

async fn a_consumer_that_is_dropped_leaves_the_rest_to_others(backend: &Backend) {
    let sent = messages(10, Priority::Default);
    let mut first = backend.queue.consume(10);
    backend.publish(&sent).await;
    let (settled_later, given_back) = (next(&mut first).await, next(&mut first).await);
    drop(first);
    let mut second = backend.queue.consume(10);
    let mut received = take(&mut second, 8).await;
    // Messages that were delivered can still be settled.
    let later = settled_later.message.clone();
    settled_later.ack();
    drop(given_back);
    received.extend(take(&mut second, 1).await);
    received.push(later);
    assert_same(&sent, &received);
    backend.is_empty().await;
}

async fn no_more_than_the_prefetch_is_held(backend: &Backend) {
    let mut greedy = backend.queue.consume(2);
    backend.publish(&messages(2, Priority::High)).await;
    let held = (next(&mut greedy).await, next(&mut greedy).await);
    let mut modest = backend.queue.consume(2);
    let third = message(Priority::High);
    backend.publish(std::slice::from_ref(&third)).await;
    let delivery = tokio::select! {
        _ = greedy.next() => panic!("more than the prefetch"),
        delivery = next(&mut modest) => delivery,
    };
    assert_eq!(delivery.message, third);
    delivery.ack();
    // The limit of another priority is independent.
    drop(modest);
    let other = message(Priority::Low);
    backend.publish(std::slice::from_ref(&other)).await;
    let delivery = next(&mut greedy).await;
    assert_eq!(delivery.message, other);
    delivery.ack();
    held.0.ack();
    let last = message(Priority::High);
    backend.publish(std::slice::from_ref(&last)).await;
    assert_eq!(take(&mut greedy, 1).await, [last]);
}

async fn waiting_may_be_given_up_at_any_time(backend: &Backend) {
    let sent = messages(60, Priority::Default);
    let mut consumer = backend.queue.consume(5);
    let publishing = async {
        for message in &sent {
            backend.publish(std::slice::from_ref(message)).await;
        }
    };
    let consuming = async {
        let mut received = Vec::new();
        while received.len() < sent.len() {
            if let Ok(delivery) = tokio::time::timeout(Duration::from_micros(300), consumer.next()).await {
                let delivery = delivery.unwrap();
                received.push(delivery.message.clone());
                delivery.ack();
            }
        }
        received
    };
    let both = async { tokio::join!(publishing, consuming).1 };
    let received = tokio::time::timeout(SOON, both).await.expect("all messages in time");
    assert_same(&sent, &received);
    backend.is_empty().await;
}

async fn two_consumers_share_the_work(backend: &Backend) {
    let sent = messages(80, Priority::Default);
    let (mut one, mut two) = (backend.queue.consume(1), backend.queue.consume(1));
    backend.publish(&sent).await;
    // With a prefetch of one message, each consumer waits for the other.
    let mut received = Vec::new();
    for _ in 1..sent.len() / 2 {
        received.extend(take(&mut one, 1).await);
        received.extend(take(&mut two, 1).await);
    }
    // The last message is delivered to the consumer that acknowledged first.
    drop(two);
    received.extend(take(&mut one, 2).await);
    assert_same(&sent, &received);
}

on_every_backend![
    the_urgent_come_first,
    what_is_dropped_comes_again,
    what_is_requeued_comes_again,
    a_consumer_that_is_dropped_leaves_the_rest_to_others,
    no_more_than_the_prefetch_is_held,
    waiting_may_be_given_up_at_any_time,
    two_consumers_share_the_work,
];
