//! Opens a large file, and prints the time and the memory that it takes. Creates the file
//! first if it does not exist.
//!
//!     cargo run --release -p counting-log --example large FOLDER [LINES]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use counting_log::{BATCH, FILE, Folder, Log};
use counting_words::lines::{length, push};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a folder")?);
    let lines = arguments.next().map_or(Ok(10_000_000), |lines| lines.parse())?;
    if !folder.join(FILE).exists() {
        create(&folder.join(FILE), lines)?;
    }
    let started = Instant::now();
    let (log, repair) = Log::open(Folder::lock(&folder)?.disk()?, BATCH)?;
    let opened = started.elapsed();
    let started = Instant::now();
    let read = log.read(log.last() / 2, 100)?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{} lines, {} bytes, {repair:?}", log.last(), length(log.last()));
    println!("opened in {opened:.1?}; {} lines read in {:.1?}; {peak}", read.lines().count(), started.elapsed());
    Ok(())
}

/// Writes a file of so many lines, in parts.
fn create(path: &std::path::Path, lines: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut text = Vec::new();
    for first in (1..=lines).step_by(10_000) {
        text.clear();
        push(first, lines.min(first + 9_999), &mut text);
        file.write_all(&text)?;
    }
    file.sync_all()
}
