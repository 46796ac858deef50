//! Dead letters.

use jobs_queue::{Death, Priority, Rejection};

use crate::backend::{Backend, DELIVERY_LIMIT, assert_same, message, messages, next, take};
use crate::on_every_backend;

async fn what_is_rejected_for_good_is_dead(backend: &Backend) {
    let sent: Vec<_> = Priority::ALL.into_iter().map(message).collect();
    let mut consumer = backend.queue.consume(5);
    backend.publish(&sent).await;
    for _ in &sent {
        next(&mut consumer).await.reject(Rejection::DeadLetter);
    }
    backend.wait_for_depth([0; 3], 3).await;
    let mut dead = backend.queue.dead_letters(5);
    let mut letters = Vec::new();
    for _ in &sent {
        let letter = next(&mut dead).await;
        assert_eq!(letter.death, Some(Death::Rejected));
        letters.push(letter.message.clone());
        letter.ack();
    }
    assert_same(&letters, &sent);
    backend.is_empty().await;
}

async fn what_comes_back_too_often_is_dead(backend: &Backend) {
    let poison = message(Priority::Default);
    let (mut consumer, mut dead) = (backend.queue.consume(5), backend.queue.dead_letters(5));
    backend.publish(std::slice::from_ref(&poison)).await;
    let mut deliveries = 0;
    let letter = loop {
        tokio::select! {
            delivery = next(&mut consumer) => {
                assert_eq!((&delivery.message, delivery.death), (&poison, None));
                deliveries += 1;
                delivery.reject(Rejection::Requeue);
            }
            letter = next(&mut dead) => break letter,
        }
    };
    assert_eq!(deliveries, DELIVERY_LIMIT + 1);
    assert_eq!((&letter.message, letter.death), (&poison, Some(Death::DeliveryLimit)));
    letter.ack();
    // The dead letter has not blocked other messages.
    let healthy = message(Priority::Default);
    backend.publish(std::slice::from_ref(&healthy)).await;
    assert_eq!(take(&mut consumer, 1).await, [healthy]);
    backend.is_empty().await;
}

async fn a_dead_letter_stays_until_it_is_dealt_with(backend: &Backend) {
    let sent = messages(2, Priority::High);
    let mut consumer = backend.queue.consume(5);
    backend.publish(&sent).await;
    next(&mut consumer).await.reject(Rejection::DeadLetter);
    next(&mut consumer).await.reject(Rejection::DeadLetter);
    let mut dead = backend.queue.dead_letters(1);
    for _ in 0..2 * DELIVERY_LIMIT {
        next(&mut dead).await.reject(Rejection::Requeue);
    }
    let dropped = next(&mut dead).await;
    assert!(sent.contains(&dropped.message));
    drop(dropped);
    next(&mut dead).await.reject(Rejection::DeadLetter);
    next(&mut dead).await.ack();
    backend.is_empty().await;
}

on_every_backend![
    what_is_rejected_for_good_is_dead,
    what_comes_back_too_often_is_dead,
    a_dead_letter_stays_until_it_is_dealt_with,
];
