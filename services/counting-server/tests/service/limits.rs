//! Clients that send what no client sends, or too much of it, or nothing.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use testkit::eventually_ok;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, count};
use crate::raw::Raw;
use crate::server::{SOON, Server};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Clients of other tests' kind count, whatever the others do.
async fn assert_counts(clients: &mut [Client; 2], server: &Server) {
    let last = server.json("/health").await["last_number"].as_u64().unwrap();
    count(clients, last + 1, last + 2).await;
}

#[tokio::test]
async fn frames_that_no_client_sends_do_not_disturb_the_others() {
    let server = Server::start().await;
    let mut clients = Client::pair(server.address).await;
    let binary = |bytes: &[u8]| Message::binary(bytes.to_vec());
    let nested = format!("42{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for messages in [
        vec![Message::text("")],
        vec![Message::text("9")],
        vec![Message::text("é")],
        vec![Message::text("hello")],
        vec![Message::text("0{}")],
        vec![Message::text("2probe")],
        vec![Message::text("5")],
        vec![Message::text("4")],
        vec![Message::text("49")],
        vec![Message::text("42")],
        vec![Message::text("42[")],
        vec![Message::text("42[]")],
        vec![Message::text("42{}")],
        vec![Message::text("42[7]")],
        vec![Message::text(r#"42["number""#)],
        vec![Message::text(r#"42["number",{"client_id":"client1","number":1}]"#)],
        vec![Message::text(r#"4299999999999999999999["number",{}]"#)],
        vec![Message::text("430[]")],
        vec![Message::text("43")],
        vec![Message::text(r#"44{"message":"no"}"#)],
        vec![Message::text("41")],
        vec![Message::text("40/other,")],
        vec![Message::text("40/other,{\"role\":\"client1\"}")],
        vec![Message::text("40{")],
        vec![Message::text(r#"451-["number",{"_placeholder":true,"num":0}]"#), Message::text("3")],
        vec![Message::text(r#"4599-["number"]"#), binary(b"x")],
        vec![binary(b""), binary(b"42[\"number\"]")],
        vec![binary(&[0xff; 1000])],
        vec![Message::text(nested)],
    ] {
        let (mut socket, _) = Raw::open(server.address).await;
        for message in &messages {
            socket.send_message(message.clone()).await;
        }
        // The same of a client that has asked for a role, and waits.
        let (mut waiting, _) = Raw::open(server.address).await;
        waiting.send("40").await;
        for message in messages {
            waiting.send_message(message).await;
        }
    }
    assert_counts(&mut clients, &server).await;
    server.until_snapshot(|snapshot| snapshot["waiting"] == 0).await;
    assert_counts(&mut clients, &server).await;
}

#[tokio::test]
async fn a_holder_that_sends_what_no_client_sends_loses_its_role_at_most() {
    let server = Server::start().await;
    for frame in ["", "9", "42[", "42[7]", r#"4299999999999999999999["number",{}]"#, "40", "40{", "430[]"] {
        let (mut socket, _) = Raw::join(server.address).await;
        socket.send(frame).await;
        socket.send(r#"421["number",{"client_id":"client1","number":1}]"#).await;
        // The server goes on with it, or ends it.
        while let Some(text) = socket.text().await {
            if text.starts_with("431[") {
                break;
            }
        }
        drop(socket);
        server.until_health(|health| health["client1"] == false).await;
    }
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 1, 4).await;
}

#[tokio::test]
async fn messages_that_are_too_large_end_their_connection_only() {
    let server = Server::start().await;
    let mut clients = Client::pair(server.address).await;
    let event = |length: usize| format!(r#"42["number","{}"]"#, "x".repeat(length));
    let (mut socket, open) = Raw::open(server.address).await;
    assert_eq!(open["maxPayload"], 16 * 1024);
    socket.send(&event(20_000)).await;
    socket.end().await;
    let (mut socket, _) = Raw::open(server.address).await;
    socket.send_message(Message::binary(vec![0; 5_000_000])).await;
    socket.end().await;

    let (_, path) = open_by_polling(&server).await;
    let response = server.request(Method::POST, &path).body(event(5_000_000)).send().await;
    // The server may close the connection before it has read everything.
    if let Ok(response) = response {
        assert!(response.status().is_client_error(), "{}", response.status());
    }
    assert_counts(&mut clients, &server).await;
}

/// Opens a session. Returns its id, and the path of its requests.
async fn open_by_polling(server: &Server) -> (String, String) {
    let open = server.get(POLLING).await.text().await.unwrap();
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let sid = open["sid"].as_str().unwrap().to_owned();
    let path = format!("{POLLING}&sid={sid}");
    (sid, path)
}

#[tokio::test]
async fn requests_that_no_client_sends_are_refused() {
    let server = Server::start().await;
    let mut clients = Client::pair(server.address).await;
    for (method, query) in [
        (Method::GET, "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA"),
        (Method::POST, "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA"),
        (Method::GET, "?EIO=4&transport=polling&sid="),
        (Method::GET, "?EIO=4&transport=polling&sid=../../etc/passwd"),
        (Method::GET, "?EIO=4&transport=polling&sid=%00%ff"),
        (Method::POST, "?EIO=4&transport=polling"),
        (Method::GET, "?EIO=4&transport=carrier-pigeon"),
        (Method::GET, "?EIO=4&transport=websocket"),
        (Method::GET, "?EIO=3&transport=polling"),
        (Method::GET, "?EIO=99&transport=polling"),
        (Method::GET, "?EIO=x"),
        (Method::GET, "?transport=polling"),
        (Method::GET, ""),
        (Method::PUT, "?EIO=4&transport=polling"),
        (Method::DELETE, "?EIO=4&transport=polling"),
    ] {
        for path in ["/socket.io/", "/socket.io"] {
            let response = server.request(method.clone(), &format!("{path}{query}")).body("40").send().await.unwrap();
            assert!(response.status().is_client_error(), "{method} {path}{query}: {}", response.status());
        }
    }
    // Packets that make no sense, in a session.
    for body in ["", "9", "42[", "2probe", "40\u{1e}", "\u{1e}\u{1e}", "b!!!"] {
        let (_, path) = open_by_polling(&server).await;
        let response = server.request(Method::POST, &path).body(body).send().await.unwrap();
        assert!(!response.status().is_server_error(), "{body:?}: {}", response.status());
    }
    count(&mut clients, 1, 2).await;
}

#[tokio::test]
async fn sessions_whose_clients_never_ask_for_a_role_end_by_themselves() {
    let server = Server::start().await;
    let mut clients = Client::pair(server.address).await;
    let mut sockets = Vec::new();
    for _ in 0..200 {
        sockets.push(Raw::open(server.address).await.0);
    }
    let polling = join_all((0..20).map(|_| open_by_polling(&server))).await;
    // Those of the first half answer pings.
    let silent = sockets.split_off(100);
    join_all(sockets.iter_mut().map(Raw::end)).await;
    for mut socket in silent {
        while socket.text().await.is_some() {}
    }
    for (_, path) in polling {
        eventually_ok(SOON, "the end of a session", async || {
            // The server may close an idle connection just when the client uses it again.
            let answer = server.request(Method::GET, &path).send().await.map_err(|error| error.to_string())?;
            if answer.status() == 400 { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
    }
    assert_counts(&mut clients, &server).await;
}
