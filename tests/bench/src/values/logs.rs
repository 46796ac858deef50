//! Reads ticks from the logs of workers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// The tick lines of one worker: for each second, the number of ticked ids, and the time
/// of the line, which is written after the commit.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ticks(BTreeMap<u64, Logged>);

/// A tick line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Logged {
    /// Number of ticked ids.
    pub(super) ids: u64,
    /// Time since the beginning of the second.
    pub(super) after: Duration,
}

impl Ticks {
    /// Reads a worker's log. If a second has several ticks, as after a change of the
    /// worker's ids, the first one counts.
    pub(super) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut ticks = BTreeMap::new();
        for (second, logged) in lines.into_iter().filter_map(parse) {
            ticks.entry(second).or_insert(logged);
        }
        Self(ticks)
    }

    /// The tick of `second`, if it was logged.
    pub(super) fn of(&self, second: u64) -> Option<Logged> {
        self.0.get(&second).copied()
    }
}

fn parse(line: &str) -> Option<(u64, Logged)> {
    // Values make up most of a line, so lines of other kinds are not parsed.
    if !line.contains(r#""message":"tick""#) {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let second = line["second"].as_u64()?;
    let logged: SystemTime = humantime::parse_rfc3339(line["timestamp"].as_str()?).ok()?;
    let after = logged.duration_since(UNIX_EPOCH + Duration::from_secs(second)).unwrap_or_default();
    Some((second, Logged { ids: line["ids"].as_u64()?, after }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tick_lines_only_and_the_first_of_a_second() {
        let lines = [
            r#"{"timestamp":"2001-09-09T01:46:40.250000Z","level":"INFO","message":"registered"}"#,
            r#"{"timestamp":"2001-09-09T01:46:40.250000Z","level":"INFO","message":"tick","worker":"a","second":1000000000,"ids":2,"values":"1=1 2=9"}"#,
            r#"{"timestamp":"2001-09-09T01:46:40.900000Z","level":"INFO","message":"tick","worker":"a","second":1000000000,"ids":3,"values":""}"#,
            r#"{"timestamp":"2001-09-09T01:46:42.100000Z","level":"INFO","message":"tick","worker":"a","second":1000000001,"ids":3,"values":""}"#,
        ];
        let ticks = Ticks::read(lines);
        assert_eq!(ticks.of(1_000_000_000), Some(Logged { ids: 2, after: Duration::from_millis(250) }));
        assert_eq!(ticks.of(1_000_000_001), Some(Logged { ids: 3, after: Duration::from_millis(1100) }));
        assert_eq!(ticks.of(1_000_000_002), None);
    }
}
