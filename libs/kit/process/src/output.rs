//! An output of the process, such as its standard output, written by a thread of its own.
//!
//! A log that no process reads, or that cannot be written, never blocks or ends the work of this
//! process: lines that do not fit are dropped and counted.
//!
//! `tracing-appender` is similar, but does not count the lines that the output refuses, and
//! waits without a limit at the end of the process if its queue is full.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use rustix::event::{PollFd, PollFlags, poll};
use tracing_subscriber::fmt::MakeWriter;

/// The number of bytes that may wait to be written. Further lines are dropped.
const CAPACITY: usize = 1024 * 1024;

/// The number of bytes that are written at once, unless one line is longer. The system
/// writes this many bytes to a pipe without mixing them with the output of others.
const PIECE: usize = 4096;

/// How long the end of the process waits for an output that takes nothing.
const STALL: Duration = Duration::from_secs(1);

/// An output that never blocks its users. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Output(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Notified when the queue is no longer empty.
    filled: Condvar,
    /// Notified when the writer has tried to write a piece, and when it begins to wait.
    progressed: Condvar,
    dropped: Counter,
    /// The thread that writes.
    writer: OnceLock<ThreadId>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whole lines.
    bytes: Vec<u8>,
    /// The number of pieces that the writer has tried to write.
    pieces: u64,
    /// Whether everything before `bytes` is written.
    is_writer_waiting: bool,
}

impl Output {
    /// The standard output.
    ///
    /// # Errors
    /// The process has no file descriptor or no thread left.
    pub fn stdout() -> io::Result<Self> {
        let report = |lines| tracing::warn!(lines, "log lines were dropped: the output did not accept them");
        Self::start(Blocking::from(io::stdout().as_fd().try_clone_to_owned()?), report)
    }

    /// Writes a text to the standard error, and waits until it is written or the standard
    /// error takes nothing. The process is about to end, and cannot report a failure.
    pub fn to_stderr(text: &str) {
        let stderr = || Self::start(Blocking::from(io::stderr().as_fd().try_clone_to_owned()?), |_| {});
        if let Ok(stderr) = stderr() {
            stderr.push(text.as_bytes());
            stderr.finish();
        }
    }

    /// Starts the thread that writes to `output`. `report` receives the number of lines
    /// that were dropped, as soon as the output takes lines again.
    fn start(output: impl Write + Send + 'static, report: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Writer { shared: Arc::clone(&shared), output, report };
        let thread = std::thread::Builder::new().name("output".to_owned()).spawn(|| writer.run())?;
        shared.writer.get_or_init(|| thread.thread().id());
        Ok(Self(shared))
    }

    /// Writes whole lines, or drops them if the output is behind.
    pub fn push(&self, lines: &[u8]) {
        let mut queue = self.0.lock();
        if queue.bytes.len() + lines.len() > CAPACITY && !self.0.is_writer() {
            self.0.dropped.inc();
            return;
        }
        let was_empty = queue.bytes.is_empty();
        queue.bytes.extend_from_slice(lines);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Waits until everything is written. Gives up when the output takes nothing for a
    /// second.
    pub fn finish(&self) {
        let mut queue = self.0.lock();
        while !queue.is_finished() {
            let before = queue.pieces;
            let is_stuck = |queue: &mut Queue| !queue.is_finished() && queue.pieces == before;
            let waited = self.0.progressed.wait_timeout_while(queue, STALL, is_stuck);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return;
            }
            queue = now;
        }
    }

    /// Adds the metric of this output to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Lines of the log that were dropped because the output did not accept them";
        registry.register("log_lines_dropped", help, self.0.dropped.clone());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this thread is the one that writes. The report of dropped lines, which it
    /// logs, always fits.
    fn is_writer(&self) -> bool {
        self.writer.get() == Some(&std::thread::current().id())
    }

    /// Moves the waiting lines into `batch`, which is empty. Waits until there are any.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut queue = self.lock();
        queue.is_writer_waiting = true;
        self.progressed.notify_all();
        let waited = self.filled.wait_while(queue, |queue| queue.bytes.is_empty());
        queue = waited.unwrap_or_else(PoisonError::into_inner);
        queue.is_writer_waiting = false;
        std::mem::swap(&mut queue.bytes, batch);
    }
}

impl Queue {
    fn is_finished(&self) -> bool {
        self.is_writer_waiting && self.bytes.is_empty()
    }
}

/// Each event of the log is one line.
impl Write for &Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// The thread that writes.
struct Writer<W, R> {
    shared: Arc<Shared>,
    output: W,
    report: R,
}

impl<W: Write, R: Fn(u64)> Writer<W, R> {
    fn run(mut self) {
        let mut batch = Vec::new();
        let mut reported = 0;
        loop {
            self.shared.take(&mut batch);
            let is_taken = self.write(&batch);
            batch.clear();
            let dropped = self.shared.dropped.get();
            if is_taken && dropped > reported {
                (self.report)(dropped - reported);
                reported = dropped;
            }
        }
    }

    /// Writes lines, and counts those that cannot be written. Returns whether the last
    /// ones could.
    fn write(&mut self, mut lines: &[u8]) -> bool {
        let mut is_taken = true;
        while !lines.is_empty() {
            let (piece, rest) = lines.split_at(piece(lines));
            is_taken = self.output.write_all(piece).is_ok();
            if !is_taken {
                self.shared.dropped.inc_by(count_lines(piece));
            }
            self.shared.lock().pieces += 1;
            self.shared.progressed.notify_all();
            lines = rest;
        }
        is_taken
    }
}

/// The length of the first piece of `lines`: as many whole lines as fit, at least one.
fn piece(lines: &[u8]) -> usize {
    let is_end = |byte: &u8| *byte == b'\n';
    if lines.len() <= PIECE {
        return lines.len();
    }
    let last_that_fits = lines[..PIECE].iter().rposition(is_end);
    last_that_fits.or_else(|| lines.iter().position(is_end)).map_or(lines.len(), |end| end + 1)
}

fn count_lines(piece: &[u8]) -> u64 {
    piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64
}

/// A file whose writes block, even if another process that shares the standard output has made it
/// non-blocking.
struct Blocking(File);

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<OwnedFd> for Blocking {
    fn from(output: OwnedFd) -> Self {
        Self(output.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Read};
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    /// An output to a pipe, the reader of that pipe, and the reports of dropped lines.
    fn piped() -> (Output, io::PipeReader, mpsc::Receiver<u64>) {
        let (reader, writer) = io::pipe().unwrap();
        let (reports, reported) = mpsc::channel();
        let report = move |lines| reports.send(lines).unwrap_or_default();
        (Output::start(Blocking::from(OwnedFd::from(writer)), report).unwrap(), reader, reported)
    }

    fn line(number: usize) -> String {
        format!("{number:0>99}\n")
    }

    #[test]
    fn everything_is_written_before_the_end() {
        const LINES: usize = CAPACITY / 100;
        let (output, mut reader, _) = piped();
        let reads = std::thread::spawn(move || {
            let mut text = vec![0; 100 * LINES];
            reader.read_exact(&mut text).unwrap();
            text
        });
        let wanted: String = (0..LINES).map(line).collect();
        for number in 0..LINES {
            output.push(line(number).as_bytes());
        }
        output.finish();
        assert!(output.0.lock().is_finished());
        assert!(reads.join().unwrap() == wanted.as_bytes());
        assert_eq!(output.0.dropped.get(), 0);
    }

    #[test]
    fn an_output_that_nobody_reads_holds_nothing_up_and_the_dropped_lines_are_counted() {
        let (output, mut reader, reported) = piped();
        let lines = CAPACITY / 100 * 4;
        for number in 0..lines {
            output.push(line(number).as_bytes());
        }
        let dropped = output.0.dropped.get();
        assert!(dropped >= (CAPACITY / 100) as u64, "{dropped}");
        let began = Instant::now();
        output.finish();
        assert!((STALL..STALL * 10).contains(&began.elapsed()), "the end waits a moment, not for ever");

        let mut text = vec![0; 100 * (lines - usize::try_from(dropped).unwrap())];
        reader.read_exact(&mut text).unwrap();
        assert!(text.starts_with(line(0).as_bytes()), "the oldest lines are kept");
        let mut sum = 0;
        while sum < dropped {
            sum += reported.recv().unwrap();
        }
        assert_eq!(sum, dropped);
    }

    #[test]
    fn the_number_of_dropped_lines_is_not_dropped() {
        let (reader, writer) = io::pipe().unwrap();
        let output = Arc::new(OnceLock::<Output>::new());
        let log = Arc::clone(&output);
        // Other threads fill the queue again before the report is logged.
        let report = move |lines| {
            let log = log.wait();
            let room = CAPACITY.saturating_sub(log.0.lock().bytes.len());
            log.push("\n".repeat(room).as_bytes());
            log.push(format!("dropped {lines}\n").as_bytes());
        };
        let output = output.get_or_init(|| Output::start(Blocking::from(OwnedFd::from(writer)), report).unwrap());
        while output.0.dropped.get() < 100 {
            output.push(line(1).as_bytes());
        }
        let dropped = output.0.dropped.get();
        let numbers = io::BufReader::new(reader)
            .lines()
            .filter_map(|line| line.unwrap().strip_prefix("dropped ")?.parse::<u64>().ok());
        let mut sum = 0;
        for number in numbers {
            sum += number;
            if sum >= dropped {
                break;
            }
        }
        assert_eq!(sum, dropped);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_lines_are_written_again_later() {
        let (taken, lines_taken) = mpsc::channel();
        let (reports, reported) = mpsc::channel();
        let report = move |lines| reports.send(lines).unwrap_or_default();
        let output = Output::start(Full { lines: 3, taken }, report).unwrap();
        for number in 1..=4 {
            output.push(format!("line {number}\n").as_bytes());
            output.finish();
        }
        assert_eq!(lines_taken.recv().unwrap(), b"line 4\n");
        assert_eq!(reported.recv().unwrap(), 3);
        assert_eq!(output.0.dropped.get(), 3);
    }

    /// A disk that is full for a number of lines.
    struct Full {
        lines: u32,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.lines > 0 {
                self.lines -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_whose_reader_has_gone_or_that_does_not_block_is_no_trouble() {
        let (output, reader, _) = piped();
        drop(reader);
        output.push(b"a line\n");
        output.finish();
        assert_eq!(output.0.dropped.get(), 1);

        let (reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let output = Output::start(Blocking::from(OwnedFd::from(writer)), |_| {}).unwrap();
        let lines: String = (0..2000).map(line).collect();
        output.push(lines.as_bytes());
        let mut text = vec![0; lines.len()];
        (&reader).read_exact(&mut text).unwrap();
        assert!(text == lines.as_bytes());
    }

    #[test]
    fn pieces_are_whole_lines() {
        let lines: String = (0..100).map(line).collect();
        assert_eq!(piece(lines.as_bytes()), 4000);
        assert_eq!(piece(&lines.as_bytes()[..300]), 300);
        let long = format!("{}\nnext\n", "x".repeat(PIECE * 2));
        assert_eq!(piece(long.as_bytes()), PIECE * 2 + 1);
        assert_eq!(piece("x".repeat(PIECE + 1).as_bytes()), PIECE + 1);
        assert_eq!(count_lines(b"one\ntwo\n"), 2);
    }
}
