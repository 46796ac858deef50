//! Messages: stored, refused, repeated.

use std::time::Duration;

use futures_util::FutureExt;
use round_robin_protocol::{ClientFrame, Refusal, ServerFrame};
use round_robin_session::{Error, MAX_MESSAGE_BYTES, Settings};

use crate::server::{Server, position, soon};

#[tokio::test]
async fn a_message_is_sent_when_it_is_stored() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings::default());
    let send = client.send("one");
    tokio::pin!(send);
    assert!(send.as_mut().now_or_never().is_none());
    let mut connection = server.greeted(1).await;
    assert!(tokio::select! {
        _ = &mut send => false,
        message = connection.message() => message == (1, "one".to_owned()),
    });
    connection.accept(1).await;
    assert_eq!(soon(send).await, Ok(1));
}

#[tokio::test]
async fn messages_are_sent_in_the_order_of_the_calls() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings::default());
    let first = client.submit(|counter| format!("{counter}")).await.unwrap();
    let second = client.submit(|counter| format!("{counter}")).await.unwrap();
    let mut connection = server.greeted(7).await;
    connection.expect([(7, "7"), (8, "8")]).await;
    connection.accept(8).await;
    assert_eq!(soon(second.stored()).await, Ok(8));
    connection.accept(7).await;
    assert_eq!(soon(first.stored()).await, Ok(7));
}

#[tokio::test]
async fn a_client_without_state_continues_where_the_server_is_and_uses_no_counter_twice() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings::default());
    let mut connection = server.connection().await;
    assert_eq!(connection.hello().await, (None, None));
    let mut place = position(4, 10, 12);
    place.ahead = vec![13, 15];
    connection.send(ServerFrame::Resumed(place.clone())).await;
    assert_eq!(soon(client.resume()).await, Ok(place));
    for _ in 0..4 {
        client.submit(|counter| format!("{counter}")).await.map(drop).unwrap();
    }
    connection.expect([(12, "12"), (14, "14"), (16, "16"), (17, "17")]).await;
}

#[tokio::test]
async fn no_more_messages_are_in_flight_than_the_window_has_places() {
    let server = Server::start().await;
    let (client, mut answers, _session) = server.session(Settings { window: 3, ..Settings::default() });
    let mut connection = server.greeted(1).await;
    let sending = tokio::spawn(async move {
        for number in 1..=5 {
            client.submit(move |_| format!("{number}")).await.map(drop).unwrap();
        }
        client
    });
    connection.expect([(1, "1"), (2, "2"), (3, "3")]).await;
    let _client = soon(sending).await.unwrap();
    // A message is in flight until it is answered.
    connection.accept(1).await;
    connection.accept(2).await;
    connection.serve(1).await;
    connection.expect([(4, "4")]).await;
    assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, 1);
    connection.serve(2).await;
    connection.expect([(5, "5")]).await;
}

#[tokio::test]
async fn a_large_message_keeps_others_back() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings { window_bytes: 1000, ..Settings::default() });
    let mut connection = server.greeted(1).await;
    let large = "x".repeat(1000);
    client
        .submit({
            let large = large.clone();
            |_| large
        })
        .await
        .map(drop)
        .unwrap();
    client.submit(|_| "small".to_owned()).await.map(drop).unwrap();
    connection.expect([(1, large.as_str())]).await;
    connection.serve(1).await;
    connection.expect([(2, "small")]).await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_at_once_and_uses_no_counter() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    assert_eq!(soon(client.send("x".repeat(MAX_MESSAGE_BYTES + 1))).await, Err(Error::TooLong));
    let longest = "x".repeat(MAX_MESSAGE_BYTES);
    client
        .submit({
            let longest = longest.clone();
            |_| longest
        })
        .await
        .map(drop)
        .unwrap();
    connection.expect([(1, longest.as_str())]).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_now_is_sent_again() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings::default());
    let pending = client.submit(|_| "one".to_owned()).await.unwrap();
    client.submit(|_| "two".to_owned()).await.map(drop).unwrap();
    let mut connection = server.greeted(1).await;
    connection.expect([(1, "one"), (2, "two")]).await;
    connection.refuse(1, Refusal::Unavailable).await;
    connection.accept(2).await;
    connection.expect([(1, "one")]).await;
    connection.accept(1).await;
    assert_eq!(soon(pending.stored()).await, Ok(1));
}

#[tokio::test]
async fn a_refusal_that_lasts_ends_the_session() {
    let detail = "for a test".to_owned();
    for (code, error) in
        [(Refusal::Conflict, Error::Conflict { counter: 1 }), (Refusal::Invalid, Error::Refused { counter: 1, detail })]
    {
        let server = Server::start().await;
        let (client, mut answers, session) = server.session(Settings::default());
        let pending = client.submit(|_| "one".to_owned()).await.unwrap();
        let mut connection = server.greeted(1).await;
        connection.message().await;
        connection.refuse(1, code).await;
        assert_eq!(soon(session).await.unwrap(), Err(error.clone()));
        assert_eq!(soon(pending.stored()).await, Err(error.clone()));
        assert_eq!(soon(client.send("two")).await, Err(error.clone()));
        assert_eq!(soon(client.resume()).await, Err(error));
        assert_eq!(soon(answers.served()).await, None);
    }
}

#[tokio::test]
async fn a_server_with_another_position_has_to_tell_it() {
    for code in [Refusal::TooFarAhead, Refusal::Gone] {
        let server = Server::start().await;
        let (client, _answers, _session) = server.session(Settings::default());
        let pending = client.submit(|_| "one".to_owned()).await.unwrap();
        let mut connection = server.greeted(8).await;
        connection.message().await;
        connection.refuse(8, code).await;
        let mut connection = server.greeted(8).await;
        connection.expect([(8, "one")]).await;
        connection.accept(8).await;
        assert_eq!(soon(pending.stored()).await, Ok(8));
    }
}

#[tokio::test]
async fn a_session_finishes_once_everything_is_answered_and_acknowledged() {
    let server = Server::start().await;
    let (client, mut answers, session) =
        server.session(Settings { ack_delay: Duration::from_hours(1), ..Settings::default() });
    client.submit(|_| "one".to_owned()).await.map(drop).unwrap();
    client.submit(|_| "two".to_owned()).await.map(drop).unwrap();
    client.finish();
    let mut connection = server.greeted(1).await;
    connection.expect([(1, "one"), (2, "two")]).await;
    connection.accept(1).await;
    connection.serve(1).await;
    connection.serve(2).await;
    for counter in [1, 2] {
        assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, counter);
    }
    assert_eq!(soon(client.send("three")).await, Err(Error::Ended));
    let (end, ack) = tokio::join!(soon(answers.served()), async {
        let mut last = None;
        while let Some(frame) = connection.next().await {
            last = Some(frame);
        }
        last
    });
    assert_eq!((end, ack), (None, Some(ClientFrame::Ack { counter: 2 })));
    assert_eq!(soon(session).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_session_without_clients_finishes() {
    let server = Server::start().await;
    let (client, answers, session) = server.session(Settings::default());
    drop((client, answers));
    assert_eq!(soon(session).await.unwrap(), Ok(()));
}
