//! WebSockets: messages, limits, and closing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use kit_process::HumanDuration;
use kit_web::http::Limits;
use kit_web::websocket::{self, Farewell, Settings, Socket, Upgrade};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::{serve, serve_with};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a socket, as soon as the listener accepts it.
async fn open(address: SocketAddr) -> Client {
    connect_async(format!("ws://{address}/")).await.unwrap().0
}

/// A router with one WebSocket.
fn router<F: Future<Output = ()> + Send + 'static>(
    settings: Settings,
    handler: impl Fn(Socket) -> F + Clone + Send + Sync + 'static,
) -> Router {
    let open = async move |upgrade: Upgrade| upgrade.run(settings.clone(), handler);
    Router::new().route("/", get(open))
}

async fn echo(mut socket: Socket) {
    while let Some(message) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// The next text; or the code of the close frame, or 0 if the socket ended without one.
async fn next(client: &mut Client) -> Result<String, u16> {
    loop {
        match client.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(0),
        }
    }
}

async fn is_echoed(client: &mut Client, text: &str) {
    client.send(Message::text(text)).await.unwrap();
    assert_eq!(next(client).await, Ok(text.to_owned()));
}

/// Sends and receives until the socket ends. Returns the last text and the code of the
/// close frame.
async fn load(mut client: Client, started: mpsc::UnboundedSender<()>) -> (String, u16) {
    let mut last = String::new();
    for count in 0_u32.. {
        if count == 1 {
            started.send(()).unwrap();
        }
        // After its close frame, the server reads nothing; what it has sent is still read.
        let _ = client.send(Message::text("more")).await;
        match next(&mut client).await {
            Ok(text) => last = text,
            Err(code) => {
                // Answers the close frame, and waits for the end of the connection.
                while let Some(Ok(_)) = client.next().await {}
                return (last, code);
            }
        }
    }
    unreachable!("the loop ends by the close frame")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_a_thousand_busy_sockets_gets_a_farewell_and_a_close_frame() {
    const SOCKETS: usize = 1000;
    raise_file_limit();
    let settings = Settings { farewell: Some(websocket::Message::text("goaway").into()), ..Settings::default() };
    let (address, shutdown, task) = serve(router(settings, echo)).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let mut clients = Vec::new();
    for _ in 0..SOCKETS {
        clients.push(tokio::spawn(load(open(address).await, started.clone())));
    }
    for _ in 0..SOCKETS {
        starts.recv().await.unwrap();
    }
    let began = Instant::now();
    shutdown.drain();
    task.await.unwrap();
    assert!(began.elapsed() < Limits::default().drain_timeout.0, "nothing was cut");
    let ends = join_all(clients).await.into_iter().map(Result::unwrap);
    let in_order = ends.filter(|end| *end == ("goaway".to_owned(), 1012)).count();
    assert_eq!(in_order, SOCKETS);
}

#[tokio::test]
async fn each_farewell_is_made_at_the_drain() {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let number = std::sync::Arc::clone(&count);
    let farewell = Farewell::new(move || {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        websocket::Message::text(number.to_string())
    });
    let settings = Settings { farewell: Some(farewell), ..Settings::default() };
    let (address, shutdown, task) = serve(router(settings, echo)).await;
    let mut clients = [open(address).await, open(address).await];
    for client in &mut clients {
        is_echoed(client, "hello").await;
    }
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 0);
    shutdown.drain();
    let mut farewells = Vec::new();
    for mut client in clients {
        farewells.push(next(&mut client).await.unwrap());
        assert_eq!(next(&mut client).await, Err(1012));
        while let Some(Ok(_)) = client.next().await {}
    }
    farewells.sort();
    assert_eq!(farewells, ["0", "1"]);
    task.await.unwrap();
}

/// Raises the limit: client and server together use two file descriptors for each socket.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

#[tokio::test]
async fn sockets_count_against_the_limit_of_connections_and_give_their_permit_back() {
    let limits = Limits { max_connections: 2, ..Limits::default() };
    let (address, ..) = serve_with(router(Settings::default(), echo), limits).await;
    let (first, mut second) = (open(address).await, open(address).await);
    let third = tokio::spawn(open(address));
    is_echoed(&mut second, "still there").await;
    assert!(!third.is_finished(), "both permits are taken");
    drop(first);
    is_echoed(&mut third.await.unwrap(), "at last").await;
}

#[tokio::test]
async fn a_socket_that_ignores_the_close_frame_is_cut_at_the_deadline() {
    let drain = Duration::from_millis(300);
    let limits = Limits { drain_timeout: HumanDuration(drain), ..Limits::default() };
    let (address, shutdown, task) = serve_with(router(Settings::default(), echo), limits).await;
    let mut client = open(address).await;
    is_echoed(&mut client, "hello").await;
    let began = Instant::now();
    shutdown.drain();
    // The client does not read, and so does not answer the close frame.
    task.await.unwrap();
    assert!(began.elapsed() >= drain, "the client had its time");
    assert_eq!(next(&mut client).await, Err(1012));
}

#[tokio::test]
async fn a_busy_handler_does_not_hold_up_the_close_frame_and_can_finish() {
    let (finish, finished) = (std::sync::Arc::new(tokio::sync::Notify::new()), mpsc::unbounded_channel());
    let (done, mut finished) = finished;
    let handler = {
        let finish = std::sync::Arc::clone(&finish);
        move |socket: Socket| {
            let (finish, done) = (std::sync::Arc::clone(&finish), done.clone());
            async move {
                finish.notified().await;
                done.send(socket.send(websocket::Message::text("too late")).await).unwrap();
            }
        }
    };
    let (address, shutdown, task) = serve(router(Settings::default(), handler)).await;
    let mut client = open(address).await;
    shutdown.drain();
    assert_eq!(next(&mut client).await, Err(1012));
    while let Some(Ok(_)) = client.next().await {}
    assert!(!task.is_finished(), "the listener waits for the handler");
    finish.notify_one();
    assert_eq!(finished.recv().await, Some(Err(websocket::Closed)));
    task.await.unwrap();
}

#[tokio::test]
async fn messages_that_the_handler_has_sent_come_before_the_close_frame() {
    let handler = async |mut socket: Socket| {
        while socket.recv().await.is_some() {
            for number in 0..10 {
                socket.send(websocket::Message::text(number.to_string())).await.unwrap();
            }
        }
    };
    let (address, shutdown, task) = serve(router(Settings::default(), handler)).await;
    let mut client = open(address).await;
    client.send(Message::text("go")).await.unwrap();
    assert_eq!(next(&mut client).await, Ok("0".to_owned()));
    shutdown.drain();
    for number in 1..10 {
        assert_eq!(next(&mut client).await, Ok(number.to_string()));
    }
    assert_eq!(next(&mut client).await, Err(1012));
    drop(client);
    task.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_loses_its_socket() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let handler = move |mut socket: Socket| {
        let ended = ended.clone();
        async move {
            while socket.recv().await.is_some() {}
            ended.send(()).unwrap();
        }
    };
    let settings = Settings { ping_interval: Duration::from_millis(100), ..Settings::default() };
    let (address, ..) = serve(router(settings, handler)).await;
    // A client that reads answers pings; this one does not read.
    let _silent = open(address).await;
    let mut alive = open(address).await;
    tokio::select! {
        end = ends.recv() => end.unwrap(),
        end = next(&mut alive) => panic!("the other socket ended: {end:?}"),
    }
    assert!(ends.try_recv().is_err(), "only one has ended");
}

#[tokio::test]
async fn a_service_closes_with_a_code_of_its_own() {
    let handler = async |mut socket: Socket| {
        socket.recv().await;
        socket.close(4001, "another connection took over").await;
    };
    let (address, ..) = serve(router(Settings::default(), handler)).await;
    let mut client = open(address).await;
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(next(&mut client).await, Err(4001));
}

#[tokio::test]
async fn the_end_of_a_handler_is_a_close_frame() {
    let handler = async |mut socket: Socket| {
        let first = socket.recv().await;
        assert!(!matches!(first, Some(websocket::Message::Binary(_))), "on purpose");
    };
    let settings = Settings { max_message: 1000, ..Settings::default() };
    let (address, ..) = serve(router(settings, handler)).await;
    for (message, code) in [
        (Message::text("end"), websocket::NORMAL),
        (Message::binary("panic"), websocket::INTERNAL_ERROR),
        (Message::text("x".repeat(1001)), websocket::TOO_LARGE),
    ] {
        let mut client = open(address).await;
        client.send(message).await.unwrap();
        assert_eq!(next(&mut client).await, Err(code));
    }
}

#[tokio::test]
async fn a_request_that_asks_for_no_socket_gets_a_problem_document() {
    let (address, ..) = serve(router(Settings::default(), echo)).await;
    let response = testkit::http_get(format!("http://{address}/")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (400, &"application/problem+json".parse().unwrap())
    );
}
