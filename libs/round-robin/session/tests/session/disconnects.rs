//! Connections that end, and how the session connects again.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use round_robin_core::types::Epoch;
use round_robin_protocol::{Refusal, ServerFrame, TAKEN_OVER};
use round_robin_session::{Error, Metrics, Settings, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::server::{Server, client_id, position, served, soon};

#[tokio::test]
async fn a_cut_in_the_middle_of_a_frame_repeats_nothing_and_loses_nothing() {
    let server = Server::start().await;
    let (client, mut answers, _session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    for text in ["one", "two", "three"] {
        client.submit(move |_| text.to_owned()).await.map(drop).unwrap();
    }
    connection.expect([(1, "one"), (2, "two"), (3, "three")]).await;
    connection.accept(1).await;
    connection.accept(2).await;
    connection.serve(1).await;
    assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, 1);
    connection.cut_in(&served(2)).await;

    let mut connection = server.connection().await;
    assert_eq!(connection.hello().await, (Some(Epoch(1)), Some(1)));
    connection.send(ServerFrame::Resumed(position(2, 2, 3))).await;
    connection.expect([(3, "three")]).await;
    connection.serve(2).await;
    connection.serve(3).await;
    for counter in [2, 3] {
        assert_eq!(soon(answers.served()).await.unwrap().unwrap().counter, counter);
    }
}

#[tokio::test]
async fn a_message_that_the_server_has_is_not_sent_again() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    let pending = ["one", "two", "three"].map(|text| client.submit(move |_| text.to_owned()));
    let [one, two, three] = pending.map(FutureExt::now_or_never).map(|pending| pending.unwrap().unwrap());
    connection.expect([(1, "one"), (2, "two"), (3, "three")]).await;
    drop(connection);
    let mut connection = server.connection().await;
    connection.hello().await;
    let mut place = position(2, 1, 2);
    place.ahead = vec![3];
    connection.send(ServerFrame::Resumed(place)).await;
    assert_eq!(soon(one.stored()).await, Ok(1));
    assert_eq!(soon(three.stored()).await, Ok(3));
    connection.expect([(2, "two")]).await;
    connection.accept(2).await;
    assert_eq!(soon(two.stored()).await, Ok(2));
}

#[tokio::test]
async fn a_message_that_another_program_may_have_sent_is_sent_again() {
    let server = Server::start().await;
    let (client, _answers, session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    let pending = client.submit(|_| "one".to_owned()).await.unwrap();
    connection.expect([(1, "one")]).await;
    drop(connection);
    let mut connection = server.connection().await;
    connection.hello().await;
    // The epoch tells that another program was connected in between.
    connection.send(ServerFrame::Resumed(position(3, 1, 2))).await;
    connection.expect([(1, "one")]).await;
    connection.refuse(1, Refusal::Conflict).await;
    assert_eq!(soon(pending.stored()).await, Err(Error::Conflict { counter: 1 }));
    assert_eq!(soon(session).await.unwrap(), Err(Error::Conflict { counter: 1 }));
}

#[tokio::test]
async fn a_silent_server_is_pinged_and_then_left() {
    let server = Server::start().await;
    let settings = Settings { silence: Duration::from_millis(200), ..Settings::default() };
    let (_client, _answers, _session) = server.session(settings);
    let mut answering = server.greeted(1).await;
    // Reading answers pings. After ten of them, the session is still there.
    for _ in 0..10 {
        let message = soon(answering.socket().next()).await.unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }
    let began = Instant::now();
    let _silent = answering;
    server.connection().await.hello().await;
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_hello_is_left() {
    let server = Server::start().await;
    let settings = Settings { connect_timeout: Duration::from_millis(100), ..Settings::default() };
    let (_client, _answers, _session) = server.session(settings);
    let _accepts_only = server.accept().await;
    let mut opens_only = server.connection().await;
    opens_only.hello().await;
    server.connection().await.hello().await;
}

#[tokio::test]
async fn a_server_that_serves_nothing_has_to_tell_the_position_again() {
    let server = Server::start().await;
    let settings = Settings { patience: Duration::from_millis(100), ..Settings::default() };
    let (client, mut answers, _session) = server.session(settings);
    let pending = client.submit(|_| "one".to_owned()).await.unwrap();
    let mut connection = server.greeted(1).await;
    connection.message().await;
    connection.accept(1).await;
    assert_eq!(soon(pending.stored()).await, Ok(1));
    let mut connection = server.connection().await;
    connection.hello().await;
    // Its database has lost the message.
    connection.send(ServerFrame::Resumed(position(2, 1, 1))).await;
    connection.expect([(1, "one")]).await;
    connection.serve(1).await;
    assert_eq!(soon(answers.served()).await.unwrap().unwrap().message.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_server_that_goes_away_gets_no_messages_and_is_left_for_as_long_as_it_says() {
    let server = Server::start().await;
    let (client, _answers, _session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    connection.send(ServerFrame::Goaway { retry_after_ms: 300 }).await;
    let told = Instant::now();
    connection.is_read().await;
    client.submit(|_| "one".to_owned()).await.map(drop).unwrap();
    assert_eq!(connection.next_before_close(1012).await, None);
    let mut connection = server.greeted(1).await;
    assert!(told.elapsed() >= Duration::from_millis(300), "{:?}", told.elapsed());
    connection.expect([(1, "one")]).await;
}

#[tokio::test]
async fn a_server_that_goes_away_and_stays_is_left() {
    let server = Server::start().await;
    let (_client, _answers, _session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    connection.send(ServerFrame::Goaway { retry_after_ms: 50 }).await;
    server.connection().await.hello().await;
}

#[tokio::test]
async fn a_restart_of_the_server_is_survived() {
    let server = Server::start().await;
    let (_client, _answers, _session) = server.session(Settings::default());
    for epoch in 1..=3 {
        let mut connection = server.connection().await;
        connection.hello().await;
        connection.send(ServerFrame::Resumed(position(epoch, 1, 1))).await;
        connection.close(1012).await;
    }
}

#[tokio::test]
async fn a_session_that_was_taken_over_ends() {
    let server = Server::start().await;
    let (client, mut answers, session) = server.session(Settings::default());
    let connection = server.greeted(1).await;
    soon(client.resume()).await.unwrap();
    connection.close(TAKEN_OVER).await;
    assert_eq!(soon(session).await.unwrap(), Err(Error::TakenOver));
    assert_eq!(soon(client.send("one")).await, Err(Error::TakenOver));
    assert_eq!(soon(answers.served()).await, None);
    assert!(server.is_left_alone(Duration::from_millis(200)).await);
}

#[tokio::test]
async fn a_session_that_its_own_earlier_connection_took_over_connects_again_once() {
    let server = Server::start().await;
    let settings = Settings { connect_timeout: Duration::from_millis(100), ..Settings::default() };
    let (_client, _answers, session) = server.session(settings);
    // The server is suspended after it received the hello, and continues later.
    let mut suspended = server.connection().await;
    suspended.hello().await;
    let connection = server.greeted(1).await;
    connection.close(TAKEN_OVER).await;
    let connection = server.greeted(1).await;
    connection.close(TAKEN_OVER).await;
    assert_eq!(soon(session).await.unwrap(), Err(Error::TakenOver));
}

#[tokio::test]
async fn a_server_that_does_not_understand_the_client_ends_the_session() {
    for code in [1002, 1003, 1007, 1008, 1009] {
        let server = Server::start().await;
        let (_client, _answers, session) = server.session(Settings::default());
        server.greeted(1).await.close(code).await;
        let reason = "for a test".to_owned();
        assert_eq!(soon(session).await.unwrap(), Err(Error::Protocol { code, reason }));
    }
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_left() {
    let resumed = || ServerFrame::Resumed(position(1, 1, 1));
    let texts = [
        "{".to_owned(),
        r#"{"type": "served", "counter": "one"}"#.to_owned(),
        serde_json::to_string(&resumed()).unwrap(),
        format!(r#"{{"type": "later", "text": "{}"}}"#, "x".repeat(70_000)),
    ];
    let server = Server::start().await;
    let (_client, _answers, _session) = server.session(Settings::default());
    for text in texts {
        server.greeted(1).await.send_text(text).await;
    }
    let mut hasty = server.connection().await;
    hasty.accept(1).await;
    server.greeted(1).await;
}

#[tokio::test]
async fn a_later_version_of_the_protocol_may_say_more() {
    let server = Server::start().await;
    let (_client, mut answers, _session) = server.session(Settings::default());
    let mut connection = server.greeted(1).await;
    connection.send_text(r#"{"type": "later", "field": [1, 2]}"#.to_owned()).await;
    let text = r#"{"type": "served", "counter": 1, "replica": "a", "served_at_ms": 5, "field": "new"}"#;
    connection.send_text(text.to_owned()).await;
    assert_eq!(soon(answers.served()).await.unwrap().unwrap().served_at_ms, 5);
}

#[tokio::test]
async fn a_server_that_is_busy_says_for_how_long() {
    let server = Server::start().await;
    let (_client, _answers, _session) = server.session(Settings::default());
    let mut stream = server.accept().await;
    let answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let mut request = vec![0; 4096];
    assert!(soon(stream.read(&mut request)).await.unwrap() > 0);
    stream.write_all(answer).await.unwrap();
    let told = Instant::now();
    server.greeted(1).await;
    assert!(told.elapsed() >= Duration::from_secs(1), "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let port = testkit::free_port();
    let config = round_robin_session::Config {
        server: format!("http://127.0.0.1:{port}").parse().unwrap(),
        client_id: client_id(),
        settings: Settings { max_backoff: Duration::from_millis(100), ..Settings::default() },
    };
    let (client, _answers, session) = connect(config, Metrics::default());
    let session = tokio::spawn(session.run());
    assert!(timeout(Duration::from_millis(100), client.resume()).await.is_err(), "there is no server");
    let server = Server::on(port).await;
    let _connection = server.greeted(1).await;
    soon(client.resume()).await.unwrap();
    session.abort();
}

#[tokio::test]
async fn an_encrypted_server_is_greeted_with_tls() {
    let server = Server::start().await;
    let mut config = server.config(Settings::default());
    config.server.set_scheme("https").unwrap();
    let (_client, _answers, session) = connect(config, Metrics::default());
    let _session = tokio::spawn(session.run());
    let mut first = [0; 2];
    soon(server.accept().await.read_exact(&mut first)).await.unwrap();
    assert_eq!(first, [0x16, 0x03], "a handshake of TLS");
}

#[tokio::test]
async fn a_session_that_finishes_while_the_server_is_away_and_nothing_is_in_flight_ends() {
    let server = Server::start().await;
    let (client, _answers, session) = server.session(Settings::default());
    drop(server);
    client.finish();
    assert_eq!(soon(session).await.unwrap(), Ok(()));
}
