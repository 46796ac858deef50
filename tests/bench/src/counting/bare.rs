//! The ceiling of a program that syncs each line: a loop that writes one line, and syncs it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use counting_words::lines::push;
use tokio::task::spawn_blocking;

use crate::stats::float;

/// Appends lines to a new file in `folder` for `duration`. Returns lines a second.
pub(super) async fn run(folder: &Path, duration: Duration) -> anyhow::Result<f64> {
    let path = folder.join("bare.txt");
    spawn_blocking(move || {
        let mut file = File::create(path)?;
        let (began, mut lines, mut text) = (Instant::now(), 0, Vec::new());
        while began.elapsed() < duration {
            lines += 1;
            text.clear();
            push(lines, lines, &mut text);
            file.write_all(&text)?;
            file.sync_data()?;
        }
        Ok(float(lines) / began.elapsed().as_secs_f64())
    })
    .await?
}
