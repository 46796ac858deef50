//! Checks of hosts and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::{Dns, PRIVATE, PUBLIC, Server, client, get, options};
use crate::{Client, Error, Options, Refused};

/// An address that passes the real check, in a prefix that is no longer routed.
const UNREACHABLE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 1));

#[tokio::test]
async fn a_host_that_is_not_on_the_allowlist_is_refused() {
    let server = Server::start().await;
    let dns = Dns::default().with("other.test", [&[PUBLIC]]);
    let refused = get(&client("allowed.test", &dns), &server.url("other.test", "/echo")).await;
    assert!(matches!(refused, Err(Error::Refused(Refused::HostNotAllowed(_)))), "{refused:?}");
    assert!(dns.names().is_empty() && server.connections().is_empty());
}

#[tokio::test]
async fn a_connection_uses_the_address_that_was_checked() {
    let server = Server::start().await;
    // A DNS server that answers with the private address from the second query on.
    let dns = Dns::default().with("rebind.test", [&[PUBLIC], &[PRIVATE]]);
    let client = client("rebind.test", &dns);
    let response = get(&client, &server.url("rebind.test", "/close")).await.unwrap();
    assert_eq!(response.body, b"closed");
    assert_eq!((dns.names().len(), server.connections()), (1, vec![PUBLIC]));

    let refused = get(&client, &server.url("rebind.test", "/close")).await;
    assert!(matches!(&refused, Err(Error::PrivateAddress(host)) if host == "rebind.test"), "{refused:?}");
    assert!(!refused.unwrap_err().is_transient());
    assert_eq!((dns.names().len(), server.connections()), (2, vec![PUBLIC]));
}

/// Listens, but lets no further connection be established.
async fn swallow(address: SocketAddr) -> impl Sized {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queued.push(connected.unwrap());
    }
    (listener, queued)
}

#[tokio::test]
async fn an_address_that_swallows_connections_does_not_delay_the_others() {
    let [dead, dead_too, alive] = [3, 4, 5].map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
    let server = Server::start_at(alive).await;
    let _swallows = (swallow((dead, server.port).into()).await, swallow((dead_too, server.port).into()).await);
    let dns = Dns::default().with("a.test", [&[dead, dead_too, alive]]);
    let client = super::client_with(options("a.test"), &dns, |address| address.is_loopback());
    let began = Instant::now();
    let response = get(&client, &server.url("a.test", "/echo")).await.unwrap();
    assert_eq!(response.body, b"GET a.test s body");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn private_addresses_among_others_are_left_out() {
    let server = Server::start().await;
    let dns =
        Dns::default().with("mixed.test", [&[PRIVATE, PUBLIC, PRIVATE]]).with("dead.test", [&[UNREACHABLE, PRIVATE]]);
    get(&client("mixed.test", &dns), &server.url("mixed.test", "/echo")).await.unwrap();
    assert_eq!(server.connections(), [PUBLIC]);

    // A failure to connect to the public address does not lead to the private one.
    let options = Options { timeout: Duration::from_millis(500), ..options("dead.test") };
    let client = super::client_with(options, &dns, crate::address::is_public);
    let failed = get(&client, &server.url("dead.test", "/echo")).await;
    assert!(matches!(failed, Err(Error::Connect(_) | Error::Timeout(_))), "{failed:?}");
    assert_eq!(server.connections(), [PUBLIC]);
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_notation() {
    let server = Server::start().await;
    let literals = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "１２７.０.０.１",
    ];
    let allowlist =
        "127.0.0.1,0.0.0.0,localhost,[::1],[::],[::ffff:7f00:1],[::7f00:1],[64:ff9b::7f00:1],[2002:7f00:1::]";
    let client = Client::new(options(allowlist));
    for host in literals.into_iter().chain(["localhost"]) {
        let refused = get(&client, &server.url(host, "/echo")).await;
        assert!(matches!(refused, Err(Error::PrivateAddress(_))), "{host}: {refused:?}");
    }
    assert!(server.connections().is_empty());
}

#[tokio::test]
async fn private_addresses_can_be_allowed() {
    let server = Server::start().await;
    let client = Client::new(Options { allow_private_addresses: true, ..options("127.0.0.2,localhost") });
    for host in ["127.0.0.2", "localhost"] {
        let response = get(&client, &server.url(host, "/echo")).await.unwrap();
        assert_eq!(response.body, format!("GET {host} s body").as_bytes());
    }
}
