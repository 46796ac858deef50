//! The end.

use jobs_queue::{Priority, PublishError};

use crate::backend::{Backend, SOON, assert_same, messages, next, take};
use crate::on_every_backend;

async fn closing_ends_everything_in_order(backend: &Backend) {
    let dispatch = backend.another();
    let sent = messages(4, Priority::Default);
    backend.publish(&sent).await;
    let (mut busy, mut dead) = (dispatch.consume(2), dispatch.dead_letters(1));
    let (settled, unsettled) = (next(&mut busy).await, next(&mut busy).await);
    let waiting = tokio::spawn(async move { dead.next().await.is_none() });
    let settled_message = settled.message.clone();
    settled.ack();
    tokio::time::timeout(SOON, dispatch.close()).await.expect("closed in time");

    assert!(waiting.await.unwrap(), "whoever waits is told");
    assert!(busy.next().await.is_none());
    assert!(dispatch.consume(1).next().await.is_none());
    let outcomes = dispatch.publish(messages(1, Priority::Low)).await;
    assert!(matches!(outcomes[..], [Err(PublishError::Unavailable(_))]), "{outcomes:?}");
    dispatch.ping().await.unwrap_err();
    dispatch.depth().await.unwrap_err();
    // Settled too late, which does no harm.
    unsettled.ack();
    tokio::time::timeout(SOON, dispatch.close()).await.expect("closed again");

    if backend.outlives_close() {
        let mut received = take(&mut backend.dispatch.consume(5), 3).await;
        received.push(settled_message);
        assert_same(&sent, &received);
        backend.is_empty().await;
    }
}

on_every_backend![closing_ends_everything_in_order];
