//! Closing a queue.

use jobs_queue::{Priority, PublishError};

use crate::backend::{Backend, SOON, assert_same, messages, next, take};
use crate::on_every_backend;

async fn closing_ends_everything_in_order(backend: &Backend) {
    let queue = backend.another();
    let sent = messages(4, Priority::Default);
    backend.publish(&sent).await;
    let (mut busy, mut dead) = (queue.consume(2), queue.dead_letters(1));
    let (settled, unsettled) = (next(&mut busy).await, next(&mut busy).await);
    let waiting = tokio::spawn(async move { dead.next().await.is_none() });
    let settled_message = settled.message.clone();
    settled.ack();
    tokio::time::timeout(SOON, queue.close()).await.expect("closed in time");

    assert!(waiting.await.unwrap(), "a waiting consumer learns of the end");
    assert!(busy.next().await.is_none());
    assert!(queue.consume(1).next().await.is_none());
    let outcomes = queue.publish(messages(1, Priority::Low)).await;
    assert!(matches!(outcomes[..], [Err(PublishError::Unavailable(_))]), "{outcomes:?}");
    queue.ping().await.unwrap_err();
    queue.depth().await.unwrap_err();
    // Settling after the close has no effect.
    unsettled.ack();
    tokio::time::timeout(SOON, queue.close()).await.expect("closed again");

    if backend.outlives_close() {
        let mut received = take(&mut backend.queue.consume(5), 3).await;
        received.push(settled_message);
        assert_same(&sent, &received);
        backend.is_empty().await;
    }
}

on_every_backend![closing_ends_everything_in_order];
