//! Configuration.

use std::time::Duration;

use clap::Args;
use kit_process::HumanDuration;
use kit_web::http::Limits;
use round_robin_core::turns::Quantum;

/// How long a request waits for its answer, unless a test changes it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The longest turn. A replica that ends serves to the end of its turn, within `SHUTDOWN_GRACE`.
const MAX_QUANTUM: Duration = Duration::from_secs(10);

/// The configuration of round-robin-server.
#[derive(Debug, Clone, Args)]
#[group(id = "round-robin-server")]
pub struct Config {
    /// Limits of the listener.
    #[command(flatten)]
    pub limits: Limits,

    /// Length of a turn, 10ms to 10s. All replicas need the same.
    #[arg(long, env = "QUANTUM", default_value = "1s", value_parser = quantum)]
    pub quantum: Quantum,

    /// Name of this replica in answers, in the database and on the page; in Kubernetes, the name of
    /// its pod.
    #[arg(
        id = "replica_name",
        long = "replica-name",
        value_name = "NAME",
        env = "REPLICA_NAME",
        value_parser = name,
        default_value_t = kit_process::config::process_name("round-robin-server")
    )]
    pub name: String,

    /// Time after which served messages are deleted: if their client acknowledged them, after this
    /// time; if not, after 24h at the earliest. The last served message of each client stays. For
    /// ever if it is not set.
    #[arg(id = "message_retention", long = "retention", value_name = "RETENTION", env = "RETENTION")]
    pub retention: Option<HumanDuration>,

    /// How long a request waits until its message is served. Then the answer is 202.
    #[arg(skip = HumanDuration(ANSWER_WITHIN))]
    pub answer_within: HumanDuration,
}

fn quantum(text: &str) -> Result<Quantum, String> {
    let length: HumanDuration = text.parse().map_err(|error: humantime::DurationError| error.to_string())?;
    let is_allowed = length.0 >= Duration::from_millis(10) && length.0 <= MAX_QUANTUM;
    let is_whole = length.0.subsec_nanos().is_multiple_of(1_000_000);
    let quantum = if is_allowed && is_whole { Quantum::from_millis(length.as_millis()) } else { None };
    quantum.ok_or_else(|| "a turn takes 10ms to 10s, in whole milliseconds".to_owned())
}

/// The database stores the name with each message.
fn name(text: &str) -> Result<String, &'static str> {
    let is_valid = (1..=253).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if is_valid { Ok(text.to_owned()) } else { Err("a name has 1 to 253 characters, and no control characters") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    fn parse(argument: &str) -> Result<Config, clap::Error> {
        Cli::try_parse_from(["round-robin-server", argument]).map(|cli| cli.config)
    }

    #[test]
    fn a_turn_has_a_length_that_the_database_can_count() {
        for (text, millis) in [("1s", 1000), ("10ms", 10), ("10s", 10_000), ("1s 5ms", 1005)] {
            assert_eq!(parse(&format!("--quantum={text}")).unwrap().quantum.as_millis(), millis, "{text}");
        }
        for text in ["", "0s", "9ms", "10001ms", "1h", "10500us", "1", "-1s", "second"] {
            assert!(parse(&format!("--quantum={text}")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_replica_has_a_name_that_fits_into_the_database() {
        for text in ["", &"x".repeat(254), "a\tb"] {
            assert!(parse(&format!("--replica-name={text}")).is_err(), "{text}");
        }
        assert_eq!(parse(&format!("--replica-name={}", "é".repeat(253))).unwrap().name.chars().count(), 253);
    }

    #[test]
    fn messages_stay_for_ever_unless_a_retention_is_set() {
        assert_eq!(parse("--quantum=1s").unwrap().retention, None);
        assert_eq!(parse("--retention=7days").unwrap().retention, Some(HumanDuration(Duration::from_hours(7 * 24))));
    }
}
