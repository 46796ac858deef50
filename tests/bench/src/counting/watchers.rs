//! Memory while many watch the page.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{Counted, Pace, count};
use super::product::Product;
use super::{DEADLINE, Options, disk};
use crate::report::{Report, Target};
use crate::stats::{Samples, float};

const METHOD: &str = "\
Clients of this program that read /events, which has an event four times a second, for 10 s while two clients count one
number a second each, and for 10 s while they count at full load. Memory (VmRSS): before the watchers, at the end of
each load, and 5 s after the watchers have left. Events: of the watcher that received the fewest, during each load.";

/// Duration of each load.
const LOAD: Duration = Duration::from_secs(10);

/// Time after which the server has noticed that the watchers have left.
const SETTLE: Duration = Duration::from_secs(5);

/// Watchers that connect at the same time.
const AT_ONCE: usize = 100;

/// Events that a watcher has received.
type Events = Arc<AtomicU64>;

/// Runs this part.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("watchers", METHOD);
    let folder = disk::folder()?;
    let product = Product::start(folder.path()).await?;
    let address = product.address()?;
    report.number("resident memory before", "MiB", product.memory()?, Target::None);
    let mut watchers = Watchers::default();
    watchers.open(product.port, options.watchers).await?;
    report.number("watchers", "", f64::from(options.watchers), Target::None);
    for (name, pace) in [
        ("2 numbers a second", Pace::Every(Duration::from_secs(1))),
        ("full load", Pace::Window(options.window.into())),
    ] {
        let (before, cpu) = (watchers.received(), product.counters().await?);
        let Counted { rate, times } = count(&address, pace, LOAD).await?;
        let memory = product.memory()?;
        let cpu = product.counters().await?.since(cpu).cpu.as_secs_f64() / LOAD.as_secs_f64();
        let events = watchers.received().into_iter().zip(before).map(|(after, before)| float(after - before));
        let events = Samples::new(events).context("no watchers")?;
        report.number(format!("{name}: resident memory"), "MiB", memory, Target::None);
        report.number("  events of the last watcher", "", events.min(), Target::AtLeast(1.0));
        report.median("  events of a watcher", "", &events, Target::None);
        report.number("  acknowledged", "/s", rate, Target::None);
        report.number("  p99", "ms", times.quantile(0.99), Target::None);
        report.number("  cores used", "", cpu, Target::None);
    }
    anyhow::ensure!(watchers.tasks.try_join_next().is_none(), "a watcher lost its stream");
    drop(watchers);
    tokio::time::sleep(SETTLE).await;
    report.number("resident memory after", "MiB", product.memory()?, Target::None);
    let mut watchers = Watchers::default();
    watchers.open(product.port, options.watchers).await?;
    report.number("resident memory with as many watchers again", "MiB", product.memory()?, Target::None);
    super::report_load(report);
    Ok(())
}

/// Watchers, until this is dropped.
#[derive(Default)]
struct Watchers {
    tasks: JoinSet<anyhow::Result<()>>,
    events: Vec<Events>,
}

impl Watchers {
    /// Connects watchers, and waits until each has received an event.
    async fn open(&mut self, port: u16, count: u32) -> anyhow::Result<()> {
        for number in 0..count {
            let events = Events::default();
            self.events.push(Arc::clone(&events));
            self.tasks.spawn(watch(port, events));
            if (number as usize + 1).is_multiple_of(AT_ONCE) {
                self.wait().await?;
            }
        }
        self.wait().await
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let waiting = async {
            while self.received().contains(&0) {
                if let Some(ended) = self.tasks.try_join_next() {
                    ended??;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(DEADLINE, waiting).await.context("an event for each watcher")?
    }

    fn received(&self) -> Vec<u64> {
        self.events.iter().map(|events| events.load(Ordering::Relaxed)).collect()
    }
}

/// Reads the stream of events. An event ends with an empty line.
async fn watch(port: u16, events: Events) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let (mut buffer, mut before) = ([0; 4096], 0);
    loop {
        let count = stream.read(&mut buffer).await?;
        anyhow::ensure!(count > 0, "the server ended a stream");
        for byte in &buffer[..count] {
            if (before, *byte) == (b'\n', b'\n') {
                events.fetch_add(1, Ordering::Relaxed);
            }
            before = *byte;
        }
    }
}
