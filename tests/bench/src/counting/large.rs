//! Start with a large file, and the memory of the server then.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use counting_words::lines::push;
use rustix::fs::{Advice, fadvise};

use super::client::{Pace, count};
use super::product::Product;
use super::{Options, disk};
use crate::report::{Report, Target};
use crate::stats::{Samples, float};

const METHOD: &str = "\
A file of as many right lines. Start: from the start of the process until its /readyz answers 200, asked every 5 ms; cold
after the pages of the file were dropped from the page cache, warm right after that. Bytes read: what the process read
from the disk, by /proc. Memory: VmRSS when ready, and after 10 s of counting at full load.";

/// How long clients count before memory is read again.
const COUNTED: Duration = Duration::from_secs(10);

/// Lines that are written at once.
const CHUNK: u64 = 100_000;

const MIB: f64 = 1024.0 * 1024.0;
const START_S: f64 = 1.0;
const MEMORY_MIB: f64 = 16.0;

/// Runs this part.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("large file", METHOD);
    let folder = disk::folder()?;
    let path = folder.path().join("numbers.txt");
    let file = write(&path, options.lines)?;
    report.number("lines of the file", "", float(options.lines), Target::None);
    report.number("  its size", "MiB", float(file.metadata()?.len()) / MIB, Target::None);
    let (mut cold, mut warm, mut from_disk, mut memory) = (vec![], vec![], vec![], vec![]);
    for _ in 0..options.rounds {
        fadvise(&file, 0, None, Advice::DontNeed)?;
        for (starts, read) in [(&mut cold, Some(&mut from_disk)), (&mut warm, None)] {
            let product = Product::start(folder.path()).await?;
            starts.push(product.start.as_secs_f64());
            memory.push(product.memory()?);
            if let Some(read) = read {
                read.push(read_bytes(product.process.id())? / MIB);
            }
        }
    }
    let samples = |values: Vec<f64>| Samples::new(values).context("rounds");
    report.median("start to ready, cold", "s", &samples(cold)?, Target::AtMost(START_S));
    report.median("  read from the disk", "MiB", &samples(from_disk)?, Target::None);
    report.median("start to ready, warm", "s", &samples(warm)?, Target::AtMost(START_S));
    report.median("resident memory when ready", "MiB", &samples(memory)?, Target::AtMost(MEMORY_MIB));
    let product = Product::start(folder.path()).await?;
    let counted = count(&product.address()?, Pace::Window(options.window.into()), COUNTED).await?;
    report.number("resident memory after 10 s of counting", "MiB", product.memory()?, Target::AtMost(MEMORY_MIB));
    report.number("  acknowledged meanwhile", "/s", counted.rate, Target::None);
    super::report_load(report);
    Ok(())
}

/// Writes the file, and makes it durable: only clean pages can be dropped.
fn write(path: &Path, lines: u64) -> anyhow::Result<File> {
    let mut file = File::create_new(path)?;
    let (mut first, mut text) = (1, Vec::new());
    while first <= lines {
        let last = lines.min(first + CHUNK - 1);
        text.clear();
        push(first, last, &mut text);
        file.write_all(&text)?;
        first = last + 1;
    }
    file.sync_all()?;
    Ok(file)
}

/// The bytes that process `id` caused to be read from disks.
fn read_bytes(id: u32) -> anyhow::Result<f64> {
    let counters = std::fs::read_to_string(format!("/proc/{id}/io"))?;
    let bytes = counters.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(float(bytes.context("no read_bytes")?.parse()?))
}
