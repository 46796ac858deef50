//! Start times of jobs.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time that a client sends in RFC 3339, in milliseconds since the Unix epoch; negative before
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunAt(pub(super) i64);

impl<'de> Deserialize<'de> for RunAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Rfc3339Time)
    }
}

struct Rfc3339Time;

impl Visitor<'_> for Rfc3339Time {
    type Value = RunAt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in RFC 3339, such as 2030-01-31T12:00:00Z or 2030-01-31T14:00:00+02:00")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RunAt, E> {
        parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

fn parse(text: &str) -> Option<RunAt> {
    // The library accepts any character between the date and the time.
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    // Rounded up, as the job must not start earlier. A leap second becomes the next second.
    let ms = time.unix_timestamp_nanos().div_euclid(1_000_000) + i128::from(time.nanosecond() % 1_000_000 > 0);
    i64::try_from(ms).ok().map(RunAt)
}
