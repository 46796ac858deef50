//! Load generators.

use std::time::Duration;

use anyhow::Context;
use testkit::Launch;

/// How much longer than its load a generator may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// What wrk is to do.
pub(super) struct Load<'a> {
    pub(super) url: &'a str,
    pub(super) connections: u32,
    pub(super) duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    /// Requests a second.
    pub(super) rate: f64,
    /// Requests.
    pub(super) requests: f64,
    /// Requests that were not answered with 2xx or 3xx.
    pub(super) failed: f64,
    /// Latencies in milliseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// The processor time of the one who answered.
    pub(super) cpu: Duration,
}

impl Load<'_> {
    pub(super) async fn run(&self) -> anyhow::Result<Round> {
        let launch = Launch::new("wrk").args([
            format!("-t{}", self.connections.min(2)),
            format!("-c{}", self.connections),
            format!("-d{}s", self.duration.as_secs().max(1)),
            "--latency".to_owned(),
            self.url.to_owned(),
        ]);
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

/// `INCR` by redis-benchmark without pipelining: what Redis makes of as many
/// connections that ask for one number each.
pub(super) async fn redis_benchmark(port: u16, connections: u32) -> anyhow::Result<Round> {
    let launch = Launch::new("redis-benchmark").args([
        "-p".to_owned(),
        port.to_string(),
        "-c".to_owned(),
        connections.to_string(),
        "-t".to_owned(),
        "incr".to_owned(),
        "-n".to_owned(),
        "200000".to_owned(),
        "--csv".to_owned(),
    ]);
    let process = launch.spawn();
    process.wait(PATIENCE).await;
    let output = process.output().await;
    benchmark(&output).with_context(|| format!("redis-benchmark printed {output:?}"))
}

/// The line is: name, rate, then latencies: average, least, p50, p95, p99, largest.
fn benchmark(output: &[String]) -> Option<Round> {
    let line = output.iter().find(|line| line.starts_with("\"INCR\""))?;
    let fields: Vec<f64> = line.split(',').skip(1).filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    Some(Round { rate: *fields.first()?, p50: *fields.get(3)?, p99: *fields.get(5)?, ..Round::default() })
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

    #[test]
    fn reads_what_redis_benchmark_prints() {
        let output = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                      \"p99_latency_ms\",\"max_latency_ms\"\n\"INCR\",\"99.5\",\"0.3\",\"0.1\",\"0.2\",\"0.4\",\"0.5\",\"0.9\"";
        let round = benchmark(&lines(output)).unwrap();
        assert_eq!((round.rate, round.p50, round.p99), (99.5, 0.2, 0.5));
    }
}
