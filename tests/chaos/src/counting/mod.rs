//! Fault injection for the counting system.
//!
//! Each part runs a server on a folder of its own, and two clients of one kind or of two. Processes
//! are killed and suspended, and connections are cut, while the clients count as fast as they can.
//! At the end, line n of the file has to be n in words.

mod clients;
mod injector;
mod judge;
mod table;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use self::clients::Kind;
use self::injector::Injector;
use self::table::Table;
use self::watch::Watch;
use crate::fleet::Programs;
use crate::report::Report;
use crate::rng::Rng;

/// Options of a run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Number of faults in each part.
    pub(crate) faults: usize,
    /// Mean time between two faults.
    pub(crate) pause: Duration,
    /// Whether the run is short: the first and the last part only; times are reported and not judged.
    pub(crate) short: bool,
    pub(crate) programs: Programs,
    /// The folder of `ci/install-socket-io`.
    pub(crate) packages: PathBuf,
    pub(crate) logs: PathBuf,
}

/// The parts: the clients of each.
const PARTS: [(&str, [Kind; 2]); 4] = [
    ("two Rust clients", [Kind::Rust, Kind::Rust]),
    ("two python-socketio clients", [Kind::Python, Kind::Python]),
    ("a JavaScript client and a Rust client", [Kind::JavaScript, Kind::Rust]),
    ("two clients that never look back", [Kind::Field, Kind::Field]),
];

/// Runs all parts.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let mut rng = Rng::new(options.seed);
    let mut report = Report::default();
    for (index, (title, kinds)) in PARTS.into_iter().enumerate() {
        let rng = rng.fork();
        if options.short && ![0, 3].contains(&index) {
            continue;
        }
        let logs = options.logs.join(format!("part-{}", index + 1));
        std::fs::create_dir_all(&logs)?;
        let table = Table::lay(&options, kinds, &logs).await?;
        let watch = Watch::begin(&table);
        let injector = Injector::new(&table, rng);
        injector.run(options.faults, options.pause).await?;
        // The watch starts clients again until the end: the last fault may have ended one.
        judge::wait_for_progress(&table).await?;
        let watched = watch.end().await;
        report.section(format!("Part {}: {title}", index + 1));
        judge::judge(&table, &watched, options.short, &mut report).await?;
    }
    Ok(report)
}
