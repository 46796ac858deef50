//! The disk without a server: loops that write lines, and sync them.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use counting_words::lines::push;
use tokio::task::spawn_blocking;

use super::client::Counted;

/// A new file that is synced after each write.
struct Lines {
    file: File,
    last: u64,
    text: Vec<u8>,
}

/// Appends one line after the other in `folder` for `duration`.
pub(super) async fn run(folder: &Path, duration: Duration) -> anyhow::Result<Counted> {
    let mut lines = Lines::new(folder)?;
    let times = spawn_blocking(move || {
        let (began, mut times) = (Instant::now(), Vec::new());
        while began.elapsed() < duration {
            let line = Instant::now();
            lines.append(lines.last + 1)?;
            times.push(line.elapsed());
        }
        anyhow::Ok(times)
    });
    Counted::new(&times.await??, duration)
}

/// Appends a line each `pause` for `duration`. Lines that are due during a sync share the next one. A
/// time is counted from when its line was due.
pub(super) async fn paced(folder: &Path, pause: Duration, duration: Duration) -> anyhow::Result<Counted> {
    let mut lines = Lines::new(folder)?;
    let times = spawn_blocking(move || {
        let (began, mut times) = (Instant::now(), Vec::new());
        let (mut next, mut due) = (1_u32, Duration::ZERO);
        while due < duration {
            #[expect(clippy::disallowed_methods, reason = "this thread may wait, and tokio's clock is too coarse")]
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let first = next;
            while due <= began.elapsed() {
                (next, due) = (next + 1, pause * next);
            }
            lines.append(u64::from(next) - 1)?;
            let done = began.elapsed();
            times.extend((first..next).map(|line| done.saturating_sub(pause * (line - 1))));
        }
        anyhow::Ok(times)
    });
    Counted::new(&times.await??, duration)
}

impl Lines {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self { file: File::create(folder.join("bare.txt"))?, last: 0, text: Vec::new() })
    }

    /// Appends the lines up to that of `last`.
    fn append(&mut self, last: u64) -> anyhow::Result<()> {
        self.text.clear();
        push(self.last + 1, last, &mut self.text);
        self.file.write_all(&self.text)?;
        self.file.sync_data()?;
        self.last = last;
        Ok(())
    }
}
