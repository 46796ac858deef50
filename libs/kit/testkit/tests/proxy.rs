//! The faults of the proxy.

use std::time::Duration;

use testkit::{Direction, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(200);

/// Starts a server that echoes what it receives, and returns its address and the
/// received bytes.
async fn echo() -> (std::net::SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("cannot listen");
    let address = listener.local_addr().expect("no address");
    let (arrivals, arrived) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let arrivals = arrivals.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let _ = arrivals.send(buffer[..read].to_vec());
                    let _ = stream.write_all(&buffer[..read]).await;
                }
            });
        }
    });
    (address, arrived)
}

async fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut reply = vec![0; text.len()];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(A_WHILE, stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn forwards_and_closes_in_order() {
    let (server, _arrived) = echo().await;
    let proxy = Proxy::start(server).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    stream.write_all(b"bye").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"bye");
}

#[tokio::test]
async fn resets_what_is_open_and_passes_what_is_new() {
    let (server, _arrived) = echo().await;
    let proxy = Proxy::start(server).await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    ask(&mut old, b"1").await.unwrap();
    proxy.reset();
    assert_eq!(old.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut new, b"2").await.unwrap(), b"2");
}

#[tokio::test]
async fn refuses_until_healed() {
    let (server, _arrived) = echo().await;
    let proxy = Proxy::start(server).await;
    proxy.cut();
    let refused = async { ask(&mut TcpStream::connect(proxy.address()).await?, b"1").await };
    refused.await.unwrap_err();
    proxy.heal();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"2").await.unwrap(), b"2");
}

#[tokio::test]
async fn swallows_everything_in_silence_until_healed() {
    let (server, mut arrived) = echo().await;
    let proxy = Proxy::start(server).await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    ask(&mut old, b"1").await.unwrap();
    arrived.recv().await.unwrap();
    proxy.black_hole();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    old.write_all(b"2").await.unwrap();
    new.write_all(b"3").await.unwrap();
    assert!(is_silent(&mut old).await && is_silent(&mut new).await);
    assert!(arrived.try_recv().is_err(), "nothing reaches the server");
    proxy.heal();
    assert!(old.read_u8().await.is_err() && new.read_u8().await.is_err(), "a connection that has lost bytes ends");
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"4").await.unwrap(), b"4");
}

/// Sends the numbers from 0 on, until the connection fails.
async fn send_numbers(address: std::net::SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    for number in 0_u32.. {
        stream.write_u32(number).await?;
    }
    Ok(())
}

/// Returns the first gap in the received numbers: the expected and the received one.
async fn gap(mut stream: TcpStream) -> Option<(u32, u32)> {
    for expected in 0.. {
        let Ok(number) = stream.read_u32().await else { break };
        if number != expected {
            return Some((expected, number));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_lost_bytes_passes_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await;
    let address = proxy.address();
    for round in 0..300 {
        let sender = tokio::spawn(send_numbers(address));
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        let gap = tokio::spawn(gap(stream));
        proxy.black_hole();
        // In most rounds, some bytes are lost in this time.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if round % 3 == 0 {
            proxy.lose_replies();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        proxy.heal();
        sender.await.unwrap().unwrap_err();
        assert_eq!(gap.await.unwrap(), None, "expected and found, in round {round}");
    }
}

#[tokio::test]
async fn loses_replies_but_not_requests() {
    let (server, mut arrived) = echo().await;
    let proxy = Proxy::start(server).await;
    proxy.lose_replies();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"request").await.unwrap();
    assert_eq!(arrived.recv().await.unwrap(), b"request");
    assert!(is_silent(&mut stream).await);
}

#[tokio::test]
async fn cuts_in_place_of_one_reply() {
    let (server, mut arrived) = echo().await;
    let proxy = Proxy::start(server).await;
    proxy.cut_reply_to("COMMIT");
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"BEGIN").await.unwrap(), b"BEGIN");
    // The text may arrive in parts.
    assert_eq!(ask(&mut stream, b"COM").await.unwrap(), b"COM");
    ask(&mut stream, b"MIT").await.unwrap_err();
    let everything: Vec<u8> =
        [arrived.recv().await, arrived.recv().await, arrived.recv().await].into_iter().flatten().flatten().collect();
    assert_eq!(everything, b"BEGINCOMMIT", "the server received the whole request");
    tokio::time::timeout(SOON, proxy.replies_cut(1)).await.unwrap();
    assert!(!proxy.is_trap_set());
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"COMMIT").await.unwrap(), b"COMMIT", "the trap works once");
}

#[tokio::test]
async fn cuts_in_the_middle_of_a_request() {
    let (server, mut arrived) = echo().await;
    let proxy = Proxy::start(server).await;
    proxy.cut_within(Direction::Requests, 3);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"abc").await.unwrap(), b"abc", "too short to be cut");
    assert!(proxy.is_cut_due());
    ask(&mut stream, b"message").await.unwrap_err();
    assert_eq!(arrived.recv().await.unwrap(), b"abc");
    assert_eq!(arrived.recv().await.unwrap(), b"mess");
    assert!(!proxy.is_cut_due());
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"message").await.unwrap(), b"message", "it happens once");
}

#[tokio::test]
async fn cuts_in_the_middle_of_a_reply() {
    let (server, mut arrived) = echo().await;
    let proxy = Proxy::start(server).await;
    proxy.cut_within(Direction::Replies, 3);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"message").await.unwrap();
    let mut part = [0; 4];
    stream.read_exact(&mut part).await.unwrap();
    assert_eq!(&part, b"mess");
    stream.read_u8().await.unwrap_err();
    assert_eq!(arrived.recv().await.unwrap(), b"message", "the server received the whole request");
    proxy.cut_within(Direction::Replies, 0);
    proxy.cancel_cut();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"message").await.unwrap(), b"message");
}

#[tokio::test]
async fn puts_itself_into_a_url() {
    let (server, _arrived) = echo().await;
    let proxy = Proxy::to(&format!("mysql://root:a%40b@{server}/x?y=z")).await;
    let url = proxy.url(&format!("mysql://root:a%40b@{server}/x?y=z"));
    assert_eq!(url, format!("mysql://root:a%40b@{}/x?y=z", proxy.address()));
}
