//! Reads figures of processes from `/proc`.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::stats::Samples;

/// Memory of a process, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: f64,
    /// Resident at most since it started.
    pub(crate) peak: f64,
}

/// The memory of process `id`.
pub(crate) fn memory(id: u32) -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let mebibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kibibytes: u32 = line.trim_end_matches("kB").trim().parse()?;
        anyhow::Ok(f64::from(kibibytes) / 1024.0)
    };
    Ok(Memory { resident: mebibytes("VmRSS:")?, peak: mebibytes("VmHWM:")? })
}

/// The processor time that process `id` has used since it started.
pub(crate) fn cpu_time(id: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    parse_cpu_time(&stat).with_context(|| format!("cannot read /proc/{id}/stat"))
}

/// Adds up fields 14 and 15. Fields are counted after the name, which may contain any
/// character. Linux reports hundredths of a second here, regardless of its timer.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * 10))
}

/// The processor time that everything on this machine has used since it booted.
pub(crate) fn machine_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let times = fields.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    // user, nice, system, (idle, iowait), irq, softirq.
    let used: u64 =
        times.iter().enumerate().filter(|(field, _)| matches!(field, 0..=2 | 5 | 6)).map(|(_, time)| time).sum();
    Ok(Duration::from_millis(used * 10))
}

/// How long it takes to append to a file in `folder` and have it on disk, in milliseconds.
pub(crate) fn commit_time(folder: &Path) -> anyhow::Result<Samples> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Samples::new(times).context("no samples")
}

/// One line about the machine: how many cores, and how busy they are already.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores, load {} at the start", load())
}

/// Average number of running and runnable threads of the machine over about a minute.
pub(crate) fn load() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_processor_time_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 123 77 0 0 20 0 1 0 5 0 0";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu_time("nonsense"), None);
    }

    #[test]
    fn knows_this_process() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.peak >= memory.resident && memory.resident > 0.5, "{memory:?}");
        cpu_time(std::process::id()).unwrap();
    }
}
