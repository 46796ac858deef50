//! Load on Redis.

use std::time::Duration;

use anyhow::Context;
use testkit::Launch;

use crate::wrk::Round;

/// Time limit of the load generator.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs `INCR` by redis-benchmark without pipelining: the rate that Redis reaches with
/// one command per number.
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

/// Parses a line: name, rate, then latencies: average, minimum, p50, p95, p99, maximum.
fn benchmark(output: &[String]) -> Option<Round> {
    let line = output.iter().find(|line| line.starts_with("\"INCR\""))?;
    let fields: Vec<f64> = line.split(',').skip(1).filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    Some(Round { rate: *fields.first()?, p50: *fields.get(3)?, p99: *fields.get(5)?, ..Round::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_redis_benchmark_prints() {
        let output = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                      \"p99_latency_ms\",\"max_latency_ms\"\n\"INCR\",\"99.5\",\"0.3\",\"0.1\",\"0.2\",\"0.4\",\"0.5\",\"0.9\"";
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        let round = benchmark(&lines).unwrap();
        assert_eq!((round.rate, round.p50, round.p99), (99.5, 0.2, 0.5));
    }
}
