//! Durable numbers a second.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use counting_words::lines::compare;

use super::client::{Counted, Pace, count};
use super::flask::Flask;
use super::product::{Counters, Product};
use super::{Options, WARM_UP, bare, disk};
use crate::report::{Report, Target};
use crate::stats::{Samples, float};

const METHOD: &str = "\
Two clients of this program, on WebSockets; every side warmed up, then in turns, on the same cores and disk. A number counts
when its acknowledgement has come: its line is durable. Full load: each client has as many numbers on their way as its
window. 1,000 a second: each client sends one every 2 ms. Bare loop: writes one line and calls fdatasync, again and again;
at 1,000 a second, one line is due each ms, and those that are due during a sync share the next one.
Flask-SocketIO: one process, two processes with python-socketio and a window of 64; num2words, write, flush and os.fsync
for each number; it keeps no order, and refuses nothing. threading runs on Werkzeug and simple-websocket.";

/// The window of counting-client, with which Flask-SocketIO is fastest, too.
const SMALL_WINDOW: usize = 64;

/// Time between two numbers of a client, which makes 1,000 numbers a second.
const PACE: Duration = Duration::from_millis(2);

/// What a side has counted, once in each round.
#[derive(Default)]
struct Side {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    syncs: Vec<f64>,
    cost: Vec<f64>,
}

#[derive(Default)]
struct Measured {
    full: Side,
    small: Side,
    paced: Side,
    bare: Side,
    bare_paced: Side,
    threading: Side,
    eventlet: Side,
}

/// The sides, running.
struct Sides {
    product: Product,
    threading: Flask,
    eventlet: Flask,
}

/// Runs this part.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("throughput", METHOD);
    let folder = disk::folder()?;
    let sides = Sides {
        product: Product::start(folder.path()).await?,
        threading: Flask::start(options, folder.path(), "threading").await,
        eventlet: Flask::start(options, folder.path(), "eventlet").await,
    };
    // The first round is a warm-up.
    Measured::default().round(&sides, options, folder.path(), WARM_UP).await?;
    let mut measured = Measured::default();
    for _ in 0..options.rounds {
        measured.round(&sides, options, folder.path(), options.round).await?;
    }
    measured.report(report, options)?;
    let (lines, wrong) = check(&folder.path().join("numbers.txt"))?;
    report.number("lines of the file afterwards", "", lines, Target::None);
    report.number("  bytes from the first wrong line on", "", wrong, Target::AtMost(0.0));
    super::report_load(report);
    Ok(())
}

impl Measured {
    async fn round(
        &mut self,
        sides: &Sides,
        options: &Options,
        folder: &Path,
        duration: Duration,
    ) -> anyhow::Result<()> {
        let window = usize::from(options.window);
        self.full.product(&sides.product, Pace::Window(window), duration).await?;
        self.bare.add(&bare::run(folder, duration).await?);
        self.small.product(&sides.product, Pace::Window(SMALL_WINDOW), duration).await?;
        self.threading.add(&sides.threading.count(options, SMALL_WINDOW, duration).await?);
        self.eventlet.add(&sides.eventlet.count(options, SMALL_WINDOW, duration).await?);
        self.paced.product(&sides.product, Pace::Every(PACE), duration).await?;
        self.bare_paced.add(&bare::paced(folder, PACE / 2, duration).await?);
        Ok(())
    }

    fn report(&self, report: &mut Report, options: &Options) -> anyhow::Result<()> {
        let full = format!("full load, window {}", options.window);
        let small = format!("full load, window {SMALL_WINDOW}");
        let paced = "1,000 a second".to_owned();
        for (name, side) in [(&full, &self.full), (&small, &self.small)] {
            let to_bare = ratio(&side.rate, &self.bare.rate)?;
            report.median(format!("{name} ÷ bare loop"), "", &to_bare, Target::AtLeast(0.9));
            for (flask, theirs) in [("threading", &self.threading), ("eventlet", &self.eventlet)] {
                let name = format!("{name} ÷ Flask-SocketIO, {flask}");
                report.median(name, "", &ratio(&side.rate, &theirs.rate)?, Target::AtLeast(20.0));
            }
            report.median(format!("{name}: syncs ÷ ack"), "", &samples(&side.syncs)?, Target::AtMost(0.05));
        }
        for (name, side) in [(&full, &self.full), (&small, &self.small), (&paced, &self.paced)] {
            report.median(format!("{name}: p99"), "ms", &samples(&side.p99)?, Target::AtMost(5.0));
            report.median(format!("{name}: p50"), "ms", &samples(&side.p50)?, Target::None);
            report.median(format!("{name}: acknowledged"), "/s", &samples(&side.rate)?, Target::None);
            report.median(format!("{name}: processor time"), "µs/ack", &samples(&side.cost)?, Target::None);
        }
        report.median(format!("{paced}: syncs ÷ ack"), "", &samples(&self.paced.syncs)?, Target::None);
        let others = [
            ("bare loop", &self.bare),
            ("bare loop, 1,000 a second", &self.bare_paced),
            ("Flask-SocketIO, threading", &self.threading),
            ("Flask-SocketIO, eventlet", &self.eventlet),
        ];
        for (name, side) in others {
            report.median(name, "/s", &samples(&side.rate)?, Target::None);
            report.median(format!("{name}: p50"), "ms", &samples(&side.p50)?, Target::None);
            report.median(format!("{name}: p99"), "ms", &samples(&side.p99)?, Target::None);
        }
        Ok(())
    }
}

impl Side {
    async fn product(&mut self, product: &Product, pace: Pace, duration: Duration) -> anyhow::Result<()> {
        let before = product.counters().await?;
        self.add(&count(&product.address()?, pace, duration).await?);
        let Counters { syncs, acknowledgements, cpu } = product.counters().await?.since(before);
        self.syncs.push(syncs / acknowledgements);
        self.cost.push(cpu.as_secs_f64() * 1e6 / acknowledgements);
        Ok(())
    }

    fn add(&mut self, Counted { rate, times }: &Counted) {
        self.rate.push(*rate);
        self.p50.push(times.median());
        self.p99.push(times.quantile(0.99));
    }
}

fn samples(values: &[f64]) -> anyhow::Result<Samples> {
    Samples::new(values.iter().copied()).context("rounds")
}

/// The ratios of pairs of the same round.
fn ratio(ours: &[f64], theirs: &[f64]) -> anyhow::Result<Samples> {
    Samples::new(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs)).context("rounds")
}

/// Number of lines of the file that count, and of bytes behind them.
fn check(file: &Path) -> anyhow::Result<(f64, f64)> {
    let text = std::fs::read(file)?;
    let right = compare(1, &text);
    Ok((float(right.lines), float((text.len() - right.bytes) as u64)))
}
