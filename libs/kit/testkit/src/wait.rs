//! Waits for a condition with a deadline.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The time between two probes.
const PAUSE: Duration = Duration::from_millis(10);

/// Calls `probe` until it returns `Some`, and returns the value.
///
/// # Panics
/// When that does not happen within `deadline`. The message contains `what`.
pub async fn eventually<T>(deadline: Duration, what: impl Display, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_ok(deadline, what, async || probe().await.ok_or("not yet")).await
}

/// Calls `probe` until it returns `Ok`, and returns the value.
///
/// # Panics
/// When that does not happen within `deadline`. The message contains `what` and the last
/// error.
pub async fn eventually_ok<T, E: Display>(
    deadline: Duration,
    what: impl Display,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    let mut last = String::from("the probe did not return");
    while Instant::now() < end {
        // The deadline also ends a probe that hangs.
        match tokio::time::timeout(end.saturating_duration_since(Instant::now()), probe()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => break,
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("waited {deadline:?} for {what}: {last}");
}
