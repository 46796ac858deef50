//! Answers: in order, each once, acknowledged.

use std::time::Duration;

use round_robin_protocol::{ClientFrame, ServerFrame};
use round_robin_session::{Answer, Lost, Settings};

use crate::server::{Server, position, served, soon};

/// More answers than the network and the session hold.
const COUNT: i64 = 100_000;

/// Settings with which nothing happens by itself within a test.
fn patient() -> Settings {
    let hour = Duration::from_hours(1);
    Settings { silence: hour, patience: hour, ack_delay: hour, ..Settings::default() }
}

#[tokio::test]
async fn answers_arrive_with_their_messages() {
    let server = Server::start().await;
    let (client, mut answers, _session) = server.session(Settings::default());
    let mut connection = server.connection().await;
    connection.hello().await;
    connection.send(ServerFrame::Resumed(position(1, 1, 2))).await;
    client.submit(|_| "two".to_owned()).await.map(drop).unwrap();
    connection.expect([(2, "two")]).await;
    connection.serve(1).await;
    connection.serve(2).await;
    let first = soon(answers.served()).await.unwrap().unwrap();
    let expected = Answer { counter: 1, message: None, replica: "a".to_owned(), served_at_ms: 1001, elapsed: None };
    assert_eq!(first, expected, "an earlier session sent the message");
    let second = soon(answers.served()).await.unwrap().unwrap();
    assert_eq!((second.counter, second.message.as_deref(), second.elapsed.is_some()), (2, Some("two"), true));
}

#[tokio::test]
async fn an_answer_means_that_the_message_is_stored() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings::default());
    let pending = client.submit(|_| "one".to_owned()).await.unwrap();
    let mut connection = server.greeted(1).await;
    connection.message().await;
    connection.serve(1).await;
    assert_eq!(soon(pending.stored()).await, Ok(1));
}

#[tokio::test]
async fn an_answer_is_delivered_once() {
    let server = Server::start().await;
    let (_client, mut answers, _session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    for counter in [1, 1, 2, 1, 2, 3] {
        connection.serve(counter).await;
    }
    for counter in [1, 2, 3] {
        assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, counter);
    }
}

#[tokio::test]
async fn an_answer_that_is_left_out_is_asked_for() {
    let server = Server::start().await;
    let (_client, mut answers, _session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    connection.serve(1).await;
    connection.serve(3).await;
    let mut connection = server.connection().await;
    let (_, last_served) = connection.hello().await;
    assert_eq!(last_served, Some(1));
    connection.send(ServerFrame::Resumed(position(2, 2, 4))).await;
    connection.serve(2).await;
    connection.serve(3).await;
    for counter in [1, 2, 3] {
        assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, counter);
    }
}

#[tokio::test]
async fn answers_are_acknowledged_together_once_the_application_has_dealt_with_them() {
    let server = Server::start().await;
    let settings = Settings { ack_delay: Duration::from_millis(50), ..patient() };
    let (_client, mut answers, _session) = server.session(settings);
    let mut connection = server.greeted(1).await;
    for counter in 1..=3 {
        connection.serve(counter).await;
    }
    for _ in 1..=3 {
        soon(answers.served()).await.unwrap().unwrap();
    }
    // The third answer is dealt with when the application asks for the next one.
    let next = tokio::spawn(async move { answers.served().await });
    let mut acknowledged = 0;
    while acknowledged < 3 {
        let Some(ClientFrame::Ack { counter }) = connection.next().await else { panic!("no acknowledgement") };
        assert!(counter > acknowledged && counter <= 3);
        acknowledged = counter;
    }
    next.abort();
}

#[tokio::test]
async fn many_answers_are_acknowledged_at_once() {
    let server = Server::start().await;
    let (_client, mut answers, _session) = server.session(Settings { ack_batch: 4, ..patient() });
    let mut connection = server.greeted(1).await;
    for counter in 1..=5 {
        connection.serve(counter).await;
    }
    for _ in 1..=5 {
        soon(answers.served()).await.unwrap().unwrap();
    }
    let Some(ClientFrame::Ack { counter }) = connection.next().await else { panic!("no acknowledgement") };
    assert!((3..=4).contains(&counter), "{counter}");
}

#[tokio::test]
async fn answers_that_nobody_wants_are_acknowledged() {
    let server = Server::start().await;
    let (_client, answers, _session) = server.session(Settings { ack_batch: 1, ..patient() });
    drop(answers);
    let mut connection = server.greeted(1).await;
    connection.serve(1).await;
    assert_eq!(connection.next().await, Some(ClientFrame::Ack { counter: 1 }));
}

#[tokio::test]
async fn an_acknowledgement_is_repeated_on_the_next_connection() {
    let server = Server::start().await;
    let (_client, mut answers, _session) = server.session(Settings { ack_batch: 1, ..patient() });
    let mut connection = server.greeted(1).await;
    connection.serve(1).await;
    soon(answers.served()).await.unwrap().unwrap();
    let _next = tokio::spawn(async move { answers.served().await });
    assert_eq!(connection.next().await, Some(ClientFrame::Ack { counter: 1 }));
    drop(connection);
    let mut connection = server.connection().await;
    connection.hello().await;
    connection.send(ServerFrame::Resumed(position(2, 2, 2))).await;
    assert_eq!(connection.next().await, Some(ClientFrame::Ack { counter: 1 }));
}

#[tokio::test]
async fn a_loss_is_reported_in_its_place() {
    let server = Server::start().await;
    let (client, mut answers, _session) = server.session(patient());
    let mut connection = server.greeted(1).await;
    connection.serve(1).await;
    drop(connection);
    let mut connection = server.connection().await;
    connection.hello().await;
    let reason = "deleted".to_owned();
    connection.send(ServerFrame::Lost { reason: reason.clone(), position: position(2, 5, 7) }).await;
    connection.serve(5).await;
    assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, 1);
    let lost = Lost { reason: reason.clone(), from: 5, expected: Some(2), is_renumbered: false };
    assert_eq!(soon(answers.served()).await.unwrap(), Err(lost));
    assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, 5);
    // Answers may be deleted while the connection is open, too.
    connection.send(ServerFrame::Lost { reason: reason.clone(), position: position(2, 9, 9) }).await;
    let lost = Lost { reason, from: 9, expected: Some(6), is_renumbered: false };
    assert_eq!(soon(answers.served()).await.unwrap(), Err(lost));
    client.submit(|counter| format!("{counter}")).await.map(drop).unwrap();
    connection.expect([(9, "9")]).await;
    connection.serve(9).await;
    assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, 9);
}

#[tokio::test]
async fn what_the_database_forgot_is_sent_again_under_the_counters_that_it_expects() {
    let server = Server::start().await;
    let (client, mut answers, _session) = server.session(patient());
    let mut connection = server.greeted(1).await;
    for text in ["one", "two", "three"] {
        client.submit(move |_| text.to_owned()).await.map(drop).unwrap();
    }
    connection.expect([(1, "one"), (2, "two"), (3, "three")]).await;
    connection.serve(1).await;
    connection.serve(2).await;
    connection.accept(3).await;
    soon(answers.served()).await.unwrap().unwrap();
    drop(connection);
    let mut connection = server.connection().await;
    let (epoch, last_served) = connection.hello().await;
    assert_eq!((epoch.unwrap().0, last_served), (1, Some(2)));
    connection.send(ServerFrame::Lost { reason: "forgotten".to_owned(), position: position(2, 1, 1) }).await;
    connection.expect([(1, "three")]).await;
    connection.serve(1).await;
    assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, 2);
    let lost = soon(answers.served()).await.unwrap().unwrap_err();
    assert_eq!((lost.from, lost.expected, lost.is_renumbered), (1, Some(3), true));
    let answer = soon(answers.served()).await.unwrap().unwrap();
    assert_eq!((answer.counter, answer.message.as_deref()), (1, Some("three")));
}

#[tokio::test]
async fn an_application_that_takes_no_answers_holds_the_server_up_and_loses_nothing() {
    let server = Server::start().await;
    // Long enough for a server on a busy machine, once it may send again.
    let settings = Settings { silence: Duration::from_secs(2), ..patient() };
    let (_client, mut answers, _session) = server.session(settings);
    let mut connection = server.greeted(1).await;
    let sending = tokio::spawn(async move {
        for counter in 1..=COUNT {
            connection.send(served(counter)).await;
        }
        connection
    });
    assert!(server.is_left_alone(Duration::from_secs(4)).await, "that is no silence of the server");
    assert!(!sending.is_finished(), "the server has to wait");
    for counter in 1..=COUNT {
        assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, counter);
    }
    soon(sending).await.unwrap();
}
