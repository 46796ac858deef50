//! Servers and networks that stop, fail and recover.

use std::time::{Duration, Instant};

use kit_database::mysql::Scripts;
use kit_database::sqlx::migrate::Migrator;
use kit_database::{Database, Error, Migrations, Options};
use testkit::{MariaDb, Proxy, Server, TestDatabase, eventually_ok};

use crate::{count, quick, scripts};

/// Time limit of a script, and of connecting in addition.
const TIMEOUT: Duration = Duration::from_millis(500);
const ACQUIRE: Duration = Duration::from_millis(500);
/// Upper bound of both together, on a busy machine.
const BOUND: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(20);

const WRITE: &str = "BEGIN; INSERT INTO numbers (n) SELECT COALESCE(MAX(n), 0) + 1 FROM numbers; COMMIT";

async fn numbers(server: &MariaDb) -> TestDatabase {
    let database = server.database("faults").await;
    server.execute(&format!("CREATE TABLE {}.numbers (n INT PRIMARY KEY)", database.name())).await;
    database
}

fn small(url: &str, probe: bool) -> Scripts {
    scripts(url, Options { connections: 2, probe, acquire_timeout: ACQUIRE })
}

async fn write(scripts: &Scripts) -> kit_database::Result<()> {
    scripts.run(WRITE, TIMEOUT).await.map(drop)
}

/// Checks that each of several concurrent callers gets an error in time.
async fn fails_in_time(scripts: &Scripts) {
    let callers: Vec<_> = (0..6)
        .map(|_| {
            let scripts = scripts.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                (write(&scripts).await, began.elapsed())
            })
        })
        .collect();
    for caller in callers {
        let (result, elapsed) = caller.await.unwrap();
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Timeout(_) | Error::Unavailable(_)) && error.is_transient(), "{error:?}");
        assert!(elapsed < BOUND, "{elapsed:?}");
    }
}

async fn recovers(scripts: &Scripts) {
    eventually_ok(SOON, "the database to be used again", async || write(scripts).await).await;
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up_in_time_and_used_again() {
    let server = MariaDb::start(quick()).await;
    let database = numbers(&server).await;
    for probe in [true, false] {
        let scripts = small(database.url(), probe);
        write(&scripts).await.unwrap();
        server.pause();
        fails_in_time(&scripts).await;
        fails_in_time(&scripts).await;
        server.resume();
        recovers(&scripts).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_or_restarted_is_used_again() {
    let server = MariaDb::start(quick()).await;
    let database = numbers(&server).await;
    let probing = small(database.url(), true);
    let trusting = small(database.url(), false);
    for kill in [true, false] {
        write(&probing).await.unwrap();
        write(&trusting).await.unwrap();
        if kill {
            server.kill();
        } else {
            server.stop().await;
        }
        fails_in_time(&probing).await;
        fails_in_time(&trusting).await;
        server.up().await;
        recovers(&trusting).await;
        recovers(&probing).await;
    }
    // A pool that pings before each use does not fail.
    server.restart().await;
    write(&probing).await.unwrap();
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_given_up_in_time() {
    let server = MariaDb::start(quick()).await;
    let database = numbers(&server).await;
    let proxy = Proxy::start(server.address()).await;
    let scripts = small(&proxy.url(database.url()), true);
    write(&scripts).await.unwrap();
    proxy.black_hole();
    fails_in_time(&scripts).await;
    fails_in_time(&scripts).await;
    proxy.heal();
    // The pool replaces the lost connections at once.
    write(&scripts).await.unwrap();
    proxy.cut();
    fails_in_time(&scripts).await;
    proxy.heal();
    write(&scripts).await.unwrap();
}

#[tokio::test]
async fn a_commit_without_a_reply_is_unknown_and_was_done() {
    let server = MariaDb::start(quick()).await;
    let database = numbers(&server).await;
    let proxy = Proxy::start(server.address()).await;
    let scripts = small(&proxy.url(database.url()), true);
    write(&scripts).await.unwrap();
    proxy.cut_reply_to("; COMMIT");
    let error = write(&scripts).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    proxy.replies_cut(1).await;
    assert_eq!(count(&database).await, 2);
    write(&scripts).await.unwrap();
}

/// Like a crash of the client's machine in the middle of a transaction.
#[tokio::test]
async fn a_lost_client_holds_no_lock() {
    let server = MariaDb::start(quick()).await;
    let database = numbers(&server).await;
    let proxy = Proxy::start(server.address()).await;
    // One connection without a probe, so that the next packet through the proxy is the
    // script.
    let options = Options { connections: 1, probe: false, acquire_timeout: ACQUIRE };
    let through = scripts(&proxy.url(database.url()), options);
    write(&through).await.unwrap();
    proxy.lose_replies();
    let error = through.run(WRITE, TIMEOUT).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    // The transaction was one packet, so the server completes it and releases its locks.
    let direct = small(database.url(), true);
    write(&direct).await.unwrap();
    assert_eq!(count(&database).await, 3);
}

pub(crate) static NO_MIGRATIONS: Migrations = Migrations::new("nothing", Migrator::DEFAULT, Migrator::DEFAULT);

#[tokio::test]
async fn preparing_waits_for_the_server() {
    let server = MariaDb::start(quick()).await;
    let test = numbers(&server).await;
    server.stop().await;
    let database = Database::open(test.url(), Options { acquire_timeout: ACQUIRE, ..Options::default() }).unwrap();
    let preparing = tokio::spawn({
        let database = database.clone();
        async move { database.prepare(&NO_MIGRATIONS).await }
    });
    assert!(database.migrate(&NO_MIGRATIONS).await.unwrap_err().is_transient());
    assert!(!preparing.is_finished());
    server.up().await;
    tokio::time::timeout(SOON, preparing).await.unwrap().unwrap().unwrap();
}
