//! Ids × ticks a second: the product against a bare loop of the same UPDATE.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use testkit::MariaDb;
use tokio::task::JoinSet;
use values_core::types::Registration;

use super::Options;
use super::product::Product;
use crate::process;
use crate::report::{Report, Target};
use crate::stats::{Samples, float};

/// Ids of a worker.
const IDS: u32 = 20;

/// Workers, each on its own connection.
const CONNECTIONS: [u32; 3] = [1, 4, 16];

const METHOD: &str = "\
Product: worker::Runner as the program runs it, but for its sleep: the state machine with a full tick every ten seconds
and light ones in between, the store, the log line as JSON (to /dev/null), back to back.
Baseline: a bare loop of the prepared, autocommitted UPDATE of the same rows, READ COMMITTED, nothing else.
Same statements: all that a light tick asks of the database (UPDATE, heartbeat, in a transaction) as one packet,
without product code: what is between it and the baseline is the server's work, what is below it is the product's.
All set the clock of their session (SET timestamp) before every tick: the same extra round trip. `ticks only`
leaves the time of that round trip out. Rounds alternate their order. The cheaper a commit to disk, the more the
extra statements show: see the machine's commit above.";

/// Runs this part.
pub(super) async fn run(server: &MariaDb, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("ticks", METHOD);
    super::product::log()?;
    let mariadbd = super::server_id(server)?;
    for connections in CONNECTIONS {
        let database = super::migrated(server, "ticks").await?;
        let mut lanes = Vec::new();
        for number in 0..connections {
            lanes.push(Lane::new(database.url(), number).await?);
        }
        let mut rounds = Rounds::default();
        // All warm up: statements are prepared, pages are read.
        for side in Side::ALL {
            lanes = slice(lanes, side, options.round / 4, mariadbd).await?.0;
        }
        for round in 0..options.rounds {
            let mut order = Side::ALL;
            if round % 2 == 1 {
                order.reverse();
            }
            for side in order {
                let rates;
                (lanes, rates) = slice(lanes, side, options.round, mariadbd).await?;
                rounds.0.entry(side).or_default().push(rates);
            }
        }
        rounds.report(connections, report);
        super::check_invariant(&database).await?;
    }
    Ok(())
}

/// What executes the ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Baseline,
    SameStatements,
    Product,
}

impl Side {
    const ALL: [Self; 3] = [Self::Baseline, Self::SameStatements, Self::Product];

    const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::SameStatements => "same statements",
            Self::Product => "product",
        }
    }
}

/// Measurements of a side in a round.
#[derive(Debug, Clone, Copy)]
struct Rates {
    /// Ids × ticks a second, in elapsed time.
    all: f64,
    /// Ids × ticks a second of the time spent in ticks.
    ticks_only: f64,
    /// Processor time in the server for one tick of one worker, in microseconds.
    server: f64,
    /// Processor time in this process for one tick of one worker, in microseconds.
    client: f64,
}

#[derive(Debug, Default)]
struct Rounds(BTreeMap<Side, Vec<Rates>>);

impl Rounds {
    fn report(&self, connections: u32, report: &mut Report) {
        let mut add = |name: String, unit, samples: Vec<f64>, target| {
            if let Some(samples) = Samples::new(samples) {
                report.median(format!("C={connections}: {name}"), unit, &samples, target);
            }
        };
        for (side, rounds) in &self.0 {
            let each = |figure: fn(&Rates) -> f64| rounds.iter().map(figure).collect();
            add(side.name().to_owned(), "ids/s", each(|rates| rates.all), Target::None);
            add(format!("{}: server's time a tick", side.name()), "µs", each(|rates| rates.server), Target::None);
            add(format!("{}: client's time a tick", side.name()), "µs", each(|rates| rates.client), Target::None);
        }
        let (target, all, ticks_only) =
            (Target::AtLeast(0.9), |rates: &Rates| rates.all, |rates: &Rates| rates.ticks_only);
        add("product ÷ baseline".to_owned(), "", self.ratios(Side::Product, Side::Baseline, all), target);
        let strict = self.ratios(Side::Product, Side::Baseline, ticks_only);
        add("product ÷ baseline, ticks only".to_owned(), "", strict, Target::None);
        let needed = self.ratios(Side::SameStatements, Side::Baseline, all);
        add("same statements ÷ baseline".to_owned(), "", needed, Target::None);
        let own = self.ratios(Side::Product, Side::SameStatements, all);
        add("product ÷ same statements".to_owned(), "", own, Target::None);
    }

    /// Compares round by round, since a disturbance affects both sides of a round.
    fn ratios(&self, side: Side, to: Side, figure: fn(&Rates) -> f64) -> Vec<f64> {
        let (Some(side), Some(to)) = (self.0.get(&side), self.0.get(&to)) else { return Vec::new() };
        side.iter().zip(to).map(|(side, to)| figure(side) / figure(to)).collect()
    }
}

/// Ticks all lanes by `side` for `length`. Returns the measured rates.
async fn slice(lanes: Vec<Lane>, side: Side, length: Duration, mariadbd: u32) -> anyhow::Result<(Vec<Lane>, Rates)> {
    let count = u32::try_from(lanes.len())?;
    let used = || anyhow::Ok((process::cpu_time(mariadbd)?, process::cpu_time(std::process::id())?));
    let (server, client) = used()?;
    let began = Instant::now();
    let end = began + length;
    let mut running = JoinSet::new();
    for mut lane in lanes {
        running.spawn(async move {
            let work = lane.run(side, end).await?;
            anyhow::Ok((lane, work))
        });
    }
    let (mut lanes, mut total) = (Vec::new(), Work::default());
    while let Some(done) = running.join_next().await {
        let (lane, work) = done??;
        lanes.push(lane);
        total.rows += work.rows;
        total.busy += work.busy;
    }
    let elapsed = began.elapsed().as_secs_f64();
    let after = used()?;
    let ticks = float(total.rows) / f64::from(IDS);
    let rates = Rates {
        all: float(total.rows) / elapsed,
        ticks_only: float(total.rows) / (total.busy / count).as_secs_f64(),
        server: (after.0.saturating_sub(server)).as_secs_f64() * 1e6 / ticks,
        client: (after.1.saturating_sub(client)).as_secs_f64() * 1e6 / ticks,
    };
    Ok((lanes, rates))
}

/// Work done by a lane.
#[derive(Debug, Default)]
struct Work {
    rows: u64,
    busy: Duration,
}

/// One worker's rows, ticked by the product or by the baseline.
struct Lane {
    product: Product,
    baseline: MySqlConnection,
    /// The second that was ticked last.
    second: i64,
}

impl Lane {
    async fn new(url: &str, number: u32) -> anyhow::Result<Self> {
        let product = Product::register(url, &format!("bench-{number}"), IDS).await?;
        let mut baseline = MySqlConnection::connect(url).await?;
        baseline.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        let rows = vec![format!("({})", product.incarnation()); IDS as usize].join(",");
        baseline.execute(AssertSqlSafe(format!("INSERT INTO `values` (owner) VALUES {rows}"))).await?;
        let sql = "SELECT MAX(last_tick) FROM `values` WHERE owner = ?";
        let second = sqlx::query_scalar(sql).bind(product.incarnation().0).fetch_one(&mut baseline).await?;
        Ok(Self { product, baseline, second })
    }

    async fn run(&mut self, side: Side, end: Instant) -> anyhow::Result<Work> {
        let mut work = Work::default();
        while Instant::now() < end {
            self.second += 1;
            match side {
                Side::Baseline | Side::SameStatements => {
                    self.baseline.execute(AssertSqlSafe(clock_sql(self.second, 0))).await?;
                }
                Side::Product => self.product.set_clock(self.second).await?,
            }
            let began = Instant::now();
            match side {
                Side::Baseline => self.tick_baseline().await?,
                Side::SameStatements => self.tick_same_statements().await?,
                Side::Product => self.product.tick().await?,
            }
            work.busy += began.elapsed();
            work.rows += u64::from(IDS);
        }
        self.check(side).await?;
        Ok(work)
    }

    /// Checks that every row has been ticked up to the last second.
    async fn check(&mut self, side: Side) -> anyhow::Result<()> {
        let sql = "SELECT COUNT(*) FROM `values` WHERE owner = ? AND last_tick = ?";
        let owner = self.product.incarnation().0;
        let ticked: i64 = sqlx::query_scalar(sql).bind(owner).bind(self.second).fetch_one(&mut self.baseline).await?;
        anyhow::ensure!(ticked == i64::from(IDS), "{side:?} ticked {ticked} rows");
        Ok(())
    }

    async fn tick_baseline(&mut self) -> anyhow::Result<()> {
        let sql = "UPDATE `values` SET value = value + (CAST(UNIX_TIMESTAMP() AS SIGNED) - last_tick), \
                   last_tick = CAST(UNIX_TIMESTAMP() AS SIGNED) \
                   WHERE owner = ? AND last_tick < CAST(UNIX_TIMESTAMP() AS SIGNED)";
        let owner = self.product.incarnation().0;
        sqlx::query(sql).bind(owner).execute(&mut self.baseline).await?;
        Ok(())
    }

    /// Executes the statements of `values_store::mysql::worker`, for rows that no other
    /// session locks.
    async fn tick_same_statements(&mut self) -> anyhow::Result<()> {
        let Registration { incarnation: owner, token } = self.product.registration();
        let (now, now_ms) = ("CAST(UNIX_TIMESTAMP() AS SIGNED)", "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)");
        let sql = format!(
            "BEGIN; \
             UPDATE `values` SET value = value + ({now} - last_tick), last_tick = LAST_INSERT_ID({now}) \
             WHERE owner = {owner} AND last_tick < {now} AND value <= {max} - GREATEST({now} - last_tick, 0); \
             UPDATE workers SET heartbeat = LAST_INSERT_ID({now_ms}) \
             WHERE incarnation = {owner} AND token = {token} AND state <> 'dead' AND generation = 0; \
             COMMIT",
            max = i64::MAX
        );
        self.baseline.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    }
}

/// SQL that sets the results of `UNIX_TIMESTAMP()` and `NOW()` on a connection to
/// `second` and `ms`, which is 0 to 999.
pub(super) fn clock_sql(second: i64, ms: u32) -> String {
    format!("SET timestamp = {second}.{ms:03}")
}
