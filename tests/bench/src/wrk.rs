//! HTTP load by wrk.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use testkit::Launch;

/// Time limit of wrk beyond the duration of its load.
const PATIENCE: Duration = Duration::from_mins(1);

/// A load for wrk to generate.
pub(crate) struct Load<'a> {
    pub(crate) url: &'a str,
    pub(crate) connections: u32,
    pub(crate) duration: Duration,
    /// Lua script that sets the request, if it is not a GET.
    pub(crate) script: Option<&'a Path>,
}

/// Result of a load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Number of requests.
    pub(crate) requests: f64,
    /// Number of requests without a 2xx or 3xx answer.
    pub(crate) failed: f64,
    /// Latencies in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Processor time of the server.
    pub(crate) cpu: Duration,
}

impl Load<'_> {
    pub(crate) async fn run(&self) -> anyhow::Result<Round> {
        let launch = Launch::new("wrk").args([
            format!("-t{}", self.connections.min(2)),
            format!("-c{}", self.connections),
            format!("-d{}s", self.duration.as_secs().max(1)),
            "--latency".to_owned(),
        ]);
        let script = self.script.map(|script| [OsString::from("-s"), script.into()]);
        let launch = launch.args(script.into_iter().flatten()).arg(self.url);
        let process = launch.spawn();
        let status = process.wait(self.duration + PATIENCE).await;
        let output = process.output().await;
        parse(&output).filter(|_| status.success()).with_context(|| format!("wrk printed {output:?}"))
    }
}

fn parse(output: &[String]) -> Option<Round> {
    let field = |name: &str| {
        let line = output.iter().map(|line| line.trim()).find(|line| line.starts_with(name))?;
        Some(line[name.len()..].trim())
    };
    let requests = output.iter().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    let count = |name: &str| field(name).map_or(Some(0.0), |number| number.parse().ok());
    let errors = field("Socket errors:").map_or(0.0, |errors| {
        errors.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<f64>().ok()).sum()
    });
    Some(Round {
        rate: field("Requests/sec:")?.parse().ok()?,
        requests,
        failed: count("Non-2xx or 3xx responses:")? + errors,
        p50: milliseconds(field("50%")?)?,
        p99: milliseconds(field("99%")?)?,
        cpu: Duration::ZERO,
    })
}

fn milliseconds(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Some(number.parse::<f64>().ok()? * factor);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn reads_what_wrk_prints() {
        let output = "Running 5s test @ http://127.0.0.1:1/\n  Latency Distribution\n     50%  812.00us\n     99%    1.50ms\n\
                      \x20 100000 requests in 5.01s, 100.00MB read\n  Socket errors: connect 0, read 1, write 0, timeout 2\n\
                      \x20 Non-2xx or 3xx responses: 7\nRequests/sec:  19960.08\nTransfer/sec:     19.96MB";
        let round = parse(&lines(output)).unwrap();
        assert_eq!((round.rate, round.requests, round.failed), (19960.08, 100_000.0, 10.0));
        assert_eq!((round.p50, round.p99), (0.812, 1.5));
        assert!(parse(&lines("unable to connect")).is_none());
    }
}
