//! Disks that fail, and files that are wrong.

use std::sync::Arc;
use std::time::Duration;

use counting_log::FILE;
use counting_socket_io::Incoming;
use reqwest::Method;
use serde_json::Value;
use testkit::eventually_ok;
use tokio::net::TcpStream;

use crate::client::{Client, count, number_of, stored};
use crate::disk::{Fault, Faults};
use crate::raw::Raw;
use crate::server::{SOON, Server, assert_problem, config, text};

/// A server on such a disk.
async fn on(faults: &Faults) -> Server {
    let server = Server::with(testkit::Folder::new("counting").into(), config(), faults.clone()).await;
    server.until_open().await;
    server
}

/// Waits until the server says that it cannot store numbers, because of this.
async fn until_error(server: &Server, error: &str) {
    let health = server.until_health(|health| health["error"].as_str().is_some_and(|it| it.contains(error))).await;
    assert_eq!(health["status"], "unavailable");
    assert_eq!(server.get("/health").await.status(), 503);
    assert_eq!(server.readiness.waiting_for(), ["file"]);
}

/// Waits until the server is as before.
async fn until_well(server: &Server) {
    let health = server.until_health(|health| health["status"] == "ok").await;
    assert_eq!(health["error"], Value::Null);
    assert_eq!(server.get("/health").await.status(), 200);
    eventually_ok(SOON, "the end of the error", async || match server.readiness.waiting_for()[..] {
        [] => Ok(()),
        _ => Err("not ready"),
    })
    .await;
    assert_eq!(server.metric("counting_can_store"), 1);
}

#[tokio::test]
async fn nothing_is_acknowledged_while_the_disk_fails_and_counting_goes_on_afterwards() {
    let faults = Faults::default();
    let server = on(&faults).await;
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 1, 100).await;
    let [mut first, mut second] = clients;
    let mut last = 100;
    for (fault, error) in [
        (Fault::Write, "cannot write to the file: Write fails on purpose"),
        (Fault::Sync, "cannot sync the file: Sync fails on purpose"),
    ] {
        faults.set(Some(fault));
        let ids = [first.number(last + 1), second.number(last + 2)];
        for client in [&mut first, &mut second] {
            client.event("stop_game").await;
        }
        until_error(&server, error).await;
        assert_eq!((server.metric("counting_can_store"), server.metric("counting_running")), (0, 0));
        let page = server.get("/").await;
        assert_eq!(page.status(), 200);
        let page = page.text().await.unwrap();
        assert!(page.contains("Numbers cannot be stored") && page.contains(error), "{page}");
        let snapshot = server.until_snapshot(|snapshot| snapshot["error"] == error).await;
        assert_eq!((&snapshot["counting"], &snapshot["last_number"]), (&false.into(), &last.into()));

        // The next attempts open the file again. What they say is the reason from then on.
        for (fault, error) in [(Fault::Open, "cannot open the file"), (Fault::Read, "cannot read the file")] {
            faults.set(Some(fault));
            until_error(&server, error).await;
        }
        // A client that comes meanwhile waits for the start, and a number far ahead is refused
        // without blame.
        first.drop_connection();
        let (comes, assigned) = Client::join(server.address, Value::Null).await;
        assert_eq!(assigned["last_number"], last - 1);
        first = comes;
        let far = first.ask("number", number_of(last + 1025)).await;
        assert_eq!(far["error"], "numbers cannot be stored at the moment");
        assert_eq!(first.ask("number", number_of(last - 1)).await, stored(last - 1), "it is stored");

        faults.set(None);
        assert_eq!(
            second.next().await,
            Incoming::Ack(counting_socket_io::packet::Ack { id: ids[1], data: vec![stored(last + 2)] })
        );
        for client in [&mut first, &mut second] {
            client.event("start_game").await;
        }
        until_well(&server).await;
        last += 2;
        first.store(last - 1).await;
        assert_eq!(server.file(), text(last));
    }
    count(&mut [first, second], last + 1, last + 10).await;
    assert_eq!(server.file(), text(last + 10));
    let happenings = server.until_snapshot(|_| true).await["happenings"].clone();
    let kinds: Vec<_> = happenings.as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    for kind in ["start", "stop", "joined", "left", "error", "recovered"] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_the_disk_fails_begins_after_what_is_stored() {
    let faults = Faults::default();
    let server = on(&faults).await;
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 1, 4).await;
    faults.set(Some(Fault::Sync));
    clients[0].number(5);
    clients[0].event("stop_game").await;
    drop(clients);
    server.until_health(|health| health["client1"] == false && health["client2"] == false).await;
    faults.set(None);
    until_well(&server).await;
    // 5 has come, and was stored later.
    server.until_health(|health| health["last_number"] == 5).await;
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 5, 8).await;
    assert_eq!(server.file(), text(8));
}

/// The server is up, and says why clients and readers have to wait.
async fn assert_not_open(server: &Server, error: &str) {
    until_error(server, error).await;
    for path in ["/socket.io/?EIO=4&transport=polling", "/socket.io?EIO=4&transport=polling", "/numbers"] {
        assert_problem(path, server.get(path).await, 503).await;
    }
    let posts = server.request(Method::POST, "/socket.io/?EIO=4&transport=polling&sid=x").body("40");
    assert_problem("POST", posts.send().await.unwrap(), 503).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let refused = Raw::over(stream, "transport=websocket", None).await.err().unwrap().to_string();
    assert!(refused.contains("503"), "{refused}");
    let health = server.json("/health").await;
    assert_eq!((&health["last_number"], &health["client1"]), (&Value::Null, &false.into()));
    assert_eq!(server.metric("counting_can_store"), 0);
    let page = server.get("/").await.text().await.unwrap();
    assert!(page.contains("Numbers cannot be stored"), "{page}");
}

#[tokio::test]
async fn a_volume_that_is_not_there_is_waited_for() {
    let faults = Faults::default();
    faults.set(Some(Fault::Open));
    let server = Server::with(testkit::Folder::new("counting").into(), config(), faults.clone()).await;
    assert_not_open(&server, "cannot open the file: Open fails on purpose").await;
    faults.set(None);
    until_well(&server).await;
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 1, 2).await;
}

#[tokio::test]
async fn a_wrong_line_is_named_until_it_is_corrected() {
    let folder = testkit::Folder::new("counting");
    let path = folder.path().join(FILE);
    std::fs::write(&path, "one\ntwo\nthre\nfour\n").unwrap();
    let server = Server::with(folder.into(), config(), Faults::default()).await;
    assert_not_open(&server, "line 3 of the file is not 3 in words: it begins with \"thre\"; correct the line").await;
    assert_eq!(server.file(), "one\ntwo\nthre\nfour\n", "it is left alone");
    std::fs::write(&path, "one\ntwo\nthree\nfive\n").unwrap();
    assert_not_open(&server, "line 4 of the file is not 4 in words: it begins with \"five\"").await;
    std::fs::write(&path, text(4)).unwrap();
    until_well(&server).await;
    let (_client, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned["last_number"], 3);
}

#[tokio::test]
async fn a_server_that_waits_for_its_file_ends_in_time() {
    let faults = Faults::default();
    faults.set(Some(Fault::Open));
    let server = Server::with(testkit::Folder::new("counting").into(), config(), faults).await;
    until_error(&server, "cannot open the file").await;
    tokio::time::timeout(Duration::from_secs(2), server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_torn_line_is_repaired_at_the_start() {
    for (contents, last) in [
        ("one\ntwo\nthr", 2),
        ("one\ntwo\nthree", 3),
        ("one\n\0\0\0\0", 1),
        ("one\ntwo\nsomething", 2),
        ("o", 0),
        ("", 0),
    ] {
        let folder = testkit::Folder::new("counting");
        std::fs::write(folder.path().join(FILE), contents).unwrap();
        let server = Server::on(folder).await;
        assert_eq!(server.json("/health").await["last_number"], last, "{contents:?}");
        assert_eq!(server.file(), text(last), "{contents:?}");
        let mut clients = Client::pair(server.address).await;
        count(&mut clients, last + 1, last + 2).await;
        assert_eq!(server.file(), text(last + 2), "{contents:?}");
    }
}

#[tokio::test]
async fn a_restart_goes_on_counting() {
    let mut folder = Arc::new(testkit::Folder::new("counting"));
    for first in [1, 21, 41] {
        let server = Server::with(folder, config(), Faults::default()).await;
        server.until_open().await;
        let mut clients = Client::pair(server.address).await;
        count(&mut clients, first, first + 19).await;
        // A number that waits for others is lost with the server, and was not acknowledged.
        clients[0].number(first + 22);
        folder = server.stop().await;
        for mut client in clients {
            client.end().await;
        }
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), text(first + 19));
    }
}

#[tokio::test]
async fn what_is_being_stored_is_acknowledged_when_the_server_ends() {
    let faults = Faults::default();
    let server = on(&faults).await;
    let [mut first, _second] = Client::pair(server.address).await;
    let syncs = faults.syncs();
    faults.hold(true);
    let id = first.number(1);
    eventually_ok(SOON, "a sync", async || if faults.syncs() > syncs { Ok(()) } else { Err("not yet") }).await;
    let ends = tokio::spawn(server.stop());
    faults.hold(false);
    assert_eq!(first.ack().await, (id, stored(1)));
    first.end().await;
    let folder = ends.await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), text(1));
}
