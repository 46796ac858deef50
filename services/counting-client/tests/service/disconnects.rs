//! What a client notices, and what it does then.

use std::time::Duration;

use testkit::{Process, Proxy};

use crate::server::{Kind, Server, client, clients, end, logged};

#[tokio::test]
async fn a_connection_that_swallows_everything_is_noticed_by_the_missing_pings() {
    for kind in Kind::ALL {
        let server = Server::start(kind).await;
        let proxy = Proxy::to(&server.url()).await;
        // It is alone, so nothing that it has sent waits for an acknowledgement.
        let process = client(&proxy.url(&server.url())).spawn();
        logged(&process, 0, &["\"connected\""]).await;
        let (from, began) = (process.line_count(), tokio::time::Instant::now());
        proxy.black_hole();
        logged(&process, from, &["not connected", "the server is silent"]).await;
        let noticed = began.elapsed();
        println!("{kind:?}: noticed after {noticed:?}, with pings every second and a second for their answers");
        assert!(noticed < Duration::from_secs(8), "{noticed:?}");
        proxy.heal();
        logged(&process, from, &["\"connected\""]).await;
    }
}

#[tokio::test]
async fn a_connection_that_swallows_numbers_costs_none() {
    for kind in Kind::ALL {
        let server = Server::start(kind).await;
        let proxy = Proxy::to(&server.url()).await;
        let last = 2000;
        let clients = clients([&proxy.url(&server.url()), &server.url()], "0", last);
        server.until_stored(300).await;
        proxy.black_hole();
        logged(&clients[0], 0, &["not connected"]).await;
        proxy.heal();
        end(&clients).await;
        server.assert_counted(last);
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed() {
    let mut server = Server::start(Kind::JavaScript).await;
    let last = 2000;
    let clients = clients([&server.url(); 2], "0", last);
    server.until_stored(300).await;
    server.pause();
    for client in &clients {
        logged(client, 0, &["the server is silent"]).await;
    }
    server.restart().await;
    end(&clients).await;
    server.assert_counted(last);
}

#[tokio::test]
async fn a_refused_number_is_logged_and_sent_again_on_another_connection() {
    let server = Server::start_with(Kind::JavaScript, &[("REFUSE", 51)]).await;
    let clients = clients([&server.url(); 2], "1ms", 100);
    end(&clients).await;
    server.assert_counted(100);
    let warnings = clients.iter().flat_map(Process::lines);
    let warnings = warnings.filter(|line| line.text.contains("the server refuses a number"));
    let warnings: Vec<String> = warnings.map(|line| line.text).collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("\"number\":51") && warnings[0].contains("on purpose"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_number_without_acknowledgement_is_asked_for_again() {
    let server = Server::start_with(Kind::JavaScript, &[("FORGET", 51)]).await;
    let first = client(&server.url()).spawn();
    logged(&first, 0, &["\"connected\"", "client1"]).await;
    let _second = client(&server.url()).spawn();
    logged(&first, 0, &["the server does not acknowledge in time"]).await;
    let stored = server.numbers().len();
    server.until_stored(stored + 1000).await;
    server.assert_counted_so_far();
}

#[tokio::test]
async fn a_third_client_is_told_why_it_waits_and_takes_the_place_of_one_that_leaves() {
    for kind in Kind::ALL {
        let server = Server::start(kind).await;
        let first = client(&server.url()).spawn();
        logged(&first, 0, &["\"connected\"", "client1"]).await;
        let second = client(&server.url()).spawn();
        logged(&second, 0, &["\"connected\"", "client2"]).await;
        let third = client(&server.url()).spawn();
        logged(&third, 0, &["not connected", "the server refuses the connection: both roles are taken"]).await;
        first.kill();
        logged(&third, 0, &["\"connected\"", "client1"]).await;
        let stored = server.numbers().len();
        server.until_stored(stored + 1000).await;
        server.assert_counted_so_far();
    }
}

#[tokio::test]
async fn a_client_gets_the_role_that_it_asks_for() {
    let server = Server::start(Kind::JavaScript).await;
    let [second, first] = ["client2", "client1"].map(|role| client(&server.url()).env("ROLE", role).spawn());
    logged(&second, 0, &["\"connected\"", "\"client_id\":\"client2\""]).await;
    logged(&first, 0, &["\"connected\"", "\"client_id\":\"client1\""]).await;
    // Both servers hand out the other role when the one that is wanted is taken.
    let other = client(&server.url()).env("ROLE", "client2").spawn();
    first.kill();
    logged(&other, 0, &["not connected", "the role client2 is taken"]).await;
    second.kill();
    logged(&other, 0, &["\"connected\"", "\"client_id\":\"client2\""]).await;
}
