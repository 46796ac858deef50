//! Messages accepted and served per second.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use testkit::{MariaDb, Process};

use super::flask::{self, Workers};
use super::load::{Load, Loaded};
use super::product::{Product, REPLICAS};
use super::proxy::Proxy;
use super::{Options, WARM_UP, ceiling, execute};
use crate::process;
use crate::report::{Report, Target};
use crate::stats::{Samples, float};
use crate::wrk::{self, Round};

const METHOD: &str = "\
Two replicas with turns of 1 s; every side warmed up, then in turns on the same cores and database; tables are emptied
after each turn. A message counts when its answer has come.
WebSocket: 8 clients of this program on each replica, each with 256 messages in flight.
INSERT + COMMIT: one statement with as many rows as our commits had messages in the same round, autocommitted, into a
table like ours, on 1 connection and on 2, which is one for each replica. It serves nothing.
HTTP: wrk, 256 connections, one message in flight on each; ours by one wrk for each replica, and through nginx.
Flask: two gunicorns with 1 worker each, sync or gthread with 8 threads, behind nginx, which takes turns; a worker
inserts the same row by PyMySQL as served, commits and answers. It keeps no order and waits for no turn.";

/// The tables of the other sides.
const TABLES: [&str; 2] = [
    "CREATE TABLE bare_messages LIKE received_messages",
    "CREATE TABLE flask_messages (
        client_id VARCHAR(64) NOT NULL, counter BIGINT NOT NULL, message TEXT NOT NULL, received_at BIGINT NOT NULL,
        replica VARCHAR(253) NOT NULL, served_at BIGINT NOT NULL, PRIMARY KEY (client_id, counter))",
];

/// Empties all tables.
const CLEAR: [&str; 5] = [
    "TRUNCATE TABLE received_messages",
    "TRUNCATE TABLE served_ranges",
    "TRUNCATE TABLE clients",
    "TRUNCATE TABLE bare_messages",
    "TRUNCATE TABLE flask_messages",
];

/// Concurrent requests by HTTP, on every side.
const CONNECTIONS: u32 = 256;

/// WebSockets on each replica, and messages in flight on each.
const CLIENTS: usize = 8;
const WINDOW: usize = 256;

/// A server that wrk loads.
struct Side {
    name: &'static str,
    /// One wrk for each.
    urls: Vec<String>,
    rounds: Vec<Round>,
}

/// Measurements, one of each per round.
#[derive(Default)]
struct Measured {
    sockets: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    batch: Vec<f64>,
    cost: Vec<f64>,
    one: Vec<f64>,
    two: Vec<f64>,
}

/// Runs this part.
pub(super) async fn run(server: &MariaDb, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("throughput", METHOD);
    let product = Product::start(server, "throughput").await?;
    let connection = &mut product.database.connect().await;
    execute(connection, &TABLES).await?;
    let addresses: Vec<SocketAddr> = product.replicas.iter().map(|replica| replica.address).collect();
    let nginx = Proxy::start(addresses.clone()).await?;
    let sync = flask::start(server, options, &product.database, Workers::Sync).await;
    let threads = flask::start(server, options, &product.database, Workers::Threads).await;
    let proxies = [Proxy::start(addresses_of(&sync)).await?, Proxy::start(addresses_of(&threads)).await?];
    let mut sides = [
        Side::new("HTTP", addresses.iter().map(|address| format!("http://{address}/messages")).collect()),
        Side::new("HTTP through nginx", vec![nginx.url.clone()]),
        Side::new("Flask, sync workers", vec![proxies[0].url.clone()]),
        Side::new("Flask, threads", vec![proxies[1].url.clone()]),
    ];
    let script = options.baselines.join("post.lua");
    let mut measured = Measured::default();
    for round in 0..=options.rounds {
        // The first round is a warm-up.
        let duration = if round == 0 { WARM_UP } else { options.round };
        measured.sockets(&product, &addresses, duration).await?;
        execute(connection, &CLEAR).await?;
        measured.bare(&product, duration).await?;
        execute(connection, &CLEAR).await?;
        for side in &mut sides {
            let loaded = side.load(&script, duration).await?;
            side.rounds.push(loaded);
            execute(connection, &CLEAR).await?;
        }
        if round == 0 {
            measured = Measured::default();
            for side in &mut sides {
                side.rounds.clear();
            }
        }
    }
    report_all(report, &sides, &measured)
}

fn addresses_of(workers: &[(Process, SocketAddr)]) -> impl Iterator<Item = SocketAddr> {
    workers.iter().map(|(_, address)| *address)
}

impl Measured {
    async fn sockets(&mut self, product: &Product, addresses: &[SocketAddr], duration: Duration) -> anyhow::Result<()> {
        let (batches, messages) = batches(product).await?;
        let cpu = cpu_time(product)?;
        let load = Load { clients: CLIENTS, window: WINDOW, duration };
        let Loaded { answers, times } = load.run(addresses).await?;
        let (batches, messages) =
            (self::batches(product).await?.0 - batches, self::batches(product).await?.1 - messages);
        let cpu = cpu_time(product)?.saturating_sub(cpu);
        let times = Samples::new(times.iter().map(|time| time.as_secs_f64() * 1000.0)).context("answers")?;
        self.sockets.push(float(answers) / duration.as_secs_f64());
        self.p50.push(times.median());
        self.p99.push(times.quantile(0.99));
        self.batch.push(messages / batches);
        self.cost.push(cpu.as_secs_f64() * 1e6 / messages);
        Ok(())
    }

    /// Runs the bare loops with the batch size of the round.
    async fn bare(&mut self, product: &Product, duration: Duration) -> anyhow::Result<()> {
        let batch = self.batch.last().context("a batch size")?.round().max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        let batch = batch as u64;
        self.one.push(ceiling::run(&product.database, 1, batch, duration).await?);
        execute(&mut product.database.connect().await, &["TRUNCATE TABLE bare_messages"]).await?;
        self.two.push(ceiling::run(&product.database, REPLICAS, batch, duration).await?);
        Ok(())
    }
}

/// Number of commits that stored messages, and of these messages.
async fn batches(product: &Product) -> anyhow::Result<(f64, f64)> {
    let count = product.metric("round_robin_accept_batch_size_count").await?;
    Ok((count, product.metric("round_robin_accept_batch_size_sum").await?))
}

fn cpu_time(product: &Product) -> anyhow::Result<Duration> {
    product.replicas.iter().map(|replica| process::cpu_time(replica.process.id())).sum()
}

impl Side {
    const fn new(name: &'static str, urls: Vec<String>) -> Self {
        Self { name, urls, rounds: Vec::new() }
    }

    /// Loads all its servers at the same time. Adds up their rates.
    async fn load(&self, script: &Path, duration: Duration) -> anyhow::Result<Round> {
        let parts = u32::try_from(self.urls.len())?;
        let loads = self.urls.iter().map(|url| {
            let load = wrk::Load { url, connections: CONNECTIONS / parts, duration, script: Some(script) };
            async move { load.run().await }
        });
        let mut all = Round::default();
        for round in futures_util::future::join_all(loads).await {
            let round = round?;
            all.rate += round.rate;
            all.requests += round.requests;
            all.failed += round.failed;
            all.p50 = all.p50.max(round.p50);
            all.p99 = all.p99.max(round.p99);
        }
        Ok(all)
    }
}

fn report_all(report: &mut Report, sides: &[Side; 4], measured: &Measured) -> anyhow::Result<()> {
    let samples = |values: &[f64]| Samples::new(values.iter().copied()).context("rounds");
    let rates = |side: &Side| side.rounds.iter().map(|round| round.rate).collect::<Vec<f64>>();
    let ratio = |ours: &[f64], others: &[f64]| {
        Samples::new(ours.iter().zip(others).map(|(ours, other)| ours / other)).context("rounds")
    };
    let ceilings =
        [("INSERT + COMMIT, 1 connection", &measured.one), ("INSERT + COMMIT, 2 connections", &measured.two)];
    for (name, bare) in ceilings {
        report.median(format!("WebSocket ÷ {name}"), "", &ratio(&measured.sockets, bare)?, Target::AtLeast(0.7));
    }
    let [http, proxied, baselines @ ..] = sides;
    for baseline in baselines {
        let theirs = rates(baseline);
        let name = baseline.name;
        report.median(format!("HTTP ÷ {name}"), "", &ratio(&rates(http), &theirs)?, Target::AtLeast(10.0));
        report.median(format!("HTTP through nginx ÷ {name}"), "", &ratio(&rates(proxied), &theirs)?, Target::None);
        report.median(format!("WebSocket ÷ {name}"), "", &ratio(&measured.sockets, &theirs)?, Target::AtLeast(10.0));
    }
    report.median("WebSocket: accepted and served", "/s", &samples(&measured.sockets)?, Target::None);
    report.median("WebSocket: p50", "ms", &samples(&measured.p50)?, Target::None);
    report.median("WebSocket: p99", "ms", &samples(&measured.p99)?, Target::None);
    report.median("WebSocket: messages in a commit", "", &samples(&measured.batch)?, Target::None);
    report.median("WebSocket: processor time of the replicas", "µs/msg", &samples(&measured.cost)?, Target::None);
    for (name, bare) in ceilings {
        report.median(name, "/s", &samples(bare)?, Target::None);
    }
    for side in sides {
        report.median(format!("{}: accepted and served", side.name), "/s", &samples(&rates(side))?, Target::None);
        let of = |of: fn(&Round) -> f64| samples(&side.rounds.iter().map(of).collect::<Vec<f64>>());
        report.median(format!("{}: p50", side.name), "ms", &of(|round| round.p50)?, Target::None);
        report.median(format!("{}: p99", side.name), "ms", &of(|round| round.p99)?, Target::None);
        let failed: f64 = side.rounds.iter().map(|round| round.failed).sum();
        report.number(format!("{}: failed", side.name), "", failed, Target::AtMost(0.0));
    }
    super::report_load(report);
    Ok(())
}
