//! Two clients that count together while servers and connections fail.

use testkit::Proxy;

use crate::server::{Kind, Server, clients, end};

#[tokio::test]
async fn two_clients_count_to_the_end() {
    for kind in Kind::ALL {
        let server = Server::start(kind).await;
        for (interval, until) in [("0", 2000), ("5ms", 2051)] {
            end(&clients([&server.url(); 2], interval, until)).await;
            server.assert_counted(until);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_killed_costs_no_number() {
    for kind in Kind::ALL {
        let mut server = Server::start(kind).await;
        let last = 4000;
        let clients = clients([&server.url(); 2], "0", last);
        for stored in [500, 1500, 2500] {
            server.until_stored(stored).await;
            server.restart().await;
        }
        end(&clients).await;
        server.assert_counted(last);
        println!("{kind:?}: {} numbers", server.numbers().len());
    }
}

#[tokio::test]
async fn cut_connections_cost_no_number() {
    for kind in Kind::ALL {
        let server = Server::start(kind).await;
        let proxies = [Proxy::to(&server.url()).await, Proxy::to(&server.url()).await];
        let urls = proxies.each_ref().map(|proxy| proxy.url(&server.url()));
        let last = 3000;
        let clients = clients([&urls[0], &urls[1]], "0", last);
        for (proxy, stored) in proxies.iter().cycle().zip([100, 500, 900, 1300, 1700, 2100]) {
            server.until_stored(stored).await;
            proxy.reset();
        }
        end(&clients).await;
        server.assert_counted(last);
    }
}
