//! Publishing: each message is reported as stored or not.

use jobs_queue::{Priority, PublishError};
use testkit::{eventually, eventually_ok};

use crate::backend::{Backend, LENGTH_LIMIT, SOON, assert_same, message, messages, take};
use crate::on_every_backend;

async fn what_is_published_arrives_once(backend: &Backend) {
    let mut sent: Vec<_> = Priority::ALL.into_iter().flat_map(|priority| messages(20, priority)).collect();
    sent[0].traceparent = None;
    let mut consumer = backend.queue.consume(10);
    backend.publish(&sent).await;
    let received = take(&mut consumer, sent.len()).await;
    assert_same(&sent, &received);
    backend.is_empty().await;
}

async fn what_is_confirmed_is_stored(backend: &Backend) {
    // No consumer has subscribed yet.
    let sent: Vec<_> = Priority::ALL.into_iter().flat_map(|priority| messages(7, priority)).collect();
    backend.publish(&sent).await;
    backend.wait_for_depth([7; 3], 0).await;
    let another = backend.another();
    let received = take(&mut another.consume(5), sent.len()).await;
    assert_same(&sent, &received);
}

async fn many_publish_at_once(backend: &Backend) {
    let mut consumer = backend.queue.consume(50);
    let sent = messages(300, Priority::Default);
    let consuming = async { take(&mut consumer, sent.len()).await };
    // A publisher repeats messages that are refused because the queue is full.
    let publishing = futures_util::future::join_all(sent.chunks(3).map(|chunk| async move {
        for message in chunk {
            eventually(SOON, "a place in the queue", async || {
                backend.queue.publish(vec![message.clone()]).await[0].is_ok().then_some(())
            })
            .await;
        }
    }));
    let (received, _) = tokio::join!(consuming, publishing);
    assert_same(&sent, &received);
}

async fn a_full_queue_refuses_until_there_is_room(backend: &Backend) {
    let sent = messages(6 * LENGTH_LIMIT as usize, Priority::High);
    let mut accepted = Vec::new();
    for chunk in sent.chunks(20) {
        let outcomes = backend.queue.publish(chunk.to_vec()).await;
        for (message, outcome) in chunk.iter().zip(outcomes) {
            match outcome {
                Ok(()) => accepted.push(message.clone()),
                Err(error) => assert_eq!(error, PublishError::Refused),
            }
        }
    }
    assert!(accepted.len() >= LENGTH_LIMIT as usize && accepted.len() < sent.len(), "{}", accepted.len());
    // The other queues are independent.
    let other = message(Priority::Low);
    backend.publish(std::slice::from_ref(&other)).await;
    accepted.push(other);
    let received = take(&mut backend.queue.consume(20), accepted.len()).await;
    assert_same(&accepted, &received);
    eventually(SOON, "room in the queue", async || {
        backend.queue.publish(messages(1, Priority::High)).await[0].is_ok().then_some(())
    })
    .await;
}

async fn nothing_is_published_at_once(backend: &Backend) {
    assert_eq!(backend.queue.publish(Vec::new()).await, []);
    let message = message(Priority::Default);
    // Publishing the same job twice stores two messages.
    backend.publish(&[message.clone(), message]).await;
    backend.wait_for_depth([0, 2, 0], 0).await;
}

async fn answers_a_ping(backend: &Backend) {
    eventually_ok(SOON, "an answer", async || backend.queue.ping().await).await;
}

on_every_backend![
    what_is_published_arrives_once,
    what_is_confirmed_is_stored,
    many_publish_at_once,
    a_full_queue_refuses_until_there_is_room,
    nothing_is_published_at_once,
    answers_a_ping,
];
