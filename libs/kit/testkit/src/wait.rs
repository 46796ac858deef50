//! Waiting without guessing how long.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long to wait between two probes.
const PAUSE: Duration = Duration::from_millis(10);

/// Probes until there is `Some` answer, and returns it.
///
/// # Panics
/// When there is none within `deadline`: the message says `what` was awaited.
pub async fn eventually<T>(deadline: Duration, what: impl Display, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_ok(deadline, what, async || probe().await.ok_or("not yet")).await
}

/// Probes until the answer is `Ok`, and returns it.
///
/// # Panics
/// When it is not within `deadline`: the message says `what` was awaited, and the last error.
pub async fn eventually_ok<T, E: Display>(
    deadline: Duration,
    what: impl Display,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    let mut last = String::from("the probe did not return");
    while Instant::now() < end {
        // A probe that hangs is cut off at the deadline, too.
        match tokio::time::timeout(end.saturating_duration_since(Instant::now()), probe()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => break,
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("waited {deadline:?} for {what}: {last}");
}
