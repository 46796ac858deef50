//! Processes, their output and their signals.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::watch;

use crate::{janitor, programs};

/// The variables of the test's environment that a process inherits.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "RUST_BACKTRACE", "LLVM_PROFILE_FILE", "LD_LIBRARY_PATH"];

/// How to start a [`Process`]. The process does not inherit the settings of the
/// developer: its environment consists of the variables that are set here and of those
/// that every program needs.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    name: String,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    /// `None` for a pipe that the test reads.
    stdout: Option<Arc<OwnedFd>>,
    /// The soft and the hard limit.
    descriptors: Option<(u32, u32)>,
}

impl Launch {
    /// Describes a process that runs `program`. A bare name is searched in `PATH`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self {
            program,
            name,
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            stdout: None,
            descriptors: None,
        }
    }

    /// Sets the name that appears in messages. The default is the name of the program.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets where the standard output goes, such as to a pipe that nobody reads. The
    /// [`Process`] then records no lines of it.
    #[must_use]
    pub fn stdout(mut self, output: impl Into<OwnedFd>) -> Self {
        self.stdout = Some(Arc::new(output.into()));
        self
    }

    /// Sets how many file descriptors the process may have open: at first `soft`, and at
    /// most `hard` if it raises its limit.
    #[must_use]
    pub fn descriptors(mut self, soft: u32, hard: u32) -> Self {
        self.descriptors = Some((soft, hard));
        self
    }

    /// Starts the process.
    ///
    /// # Panics
    /// When the process cannot be started.
    #[must_use]
    pub fn spawn(self) -> Process {
        let program = if self.program.components().count() == 1 {
            let name = self.program.to_string_lossy();
            programs::find(&name).unwrap_or_else(|| panic!("there is no program {name} in PATH"))
        } else {
            assert!(self.program.is_file(), "there is no program {}", self.program.display());
            self.program
        };
        let stdout = self.stdout.map_or_else(Stdio::piped, |output| {
            Stdio::from(output.try_clone().unwrap_or_else(|error| panic!("cannot clone an output: {error}")))
        });
        let mut command = match self.descriptors {
            None => Command::new(program),
            Some(limits) => limited(limits, &program),
        };
        command
            .args(self.arguments)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            // A signal to the group reaches the children; Ctrl-C in the terminal does not.
            .process_group(0);
        if let Some(folder) = self.folder {
            command.current_dir(folder);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name));
        janitor::started(Pid::from_child(&child));
        Process::new(self.name, child)
    }
}

/// Runs `program` with a soft and a hard limit of file descriptors.
fn limited((soft, hard): (u32, u32), program: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$@\"");
    command.args(["-c", &script, "sh"]).arg(program);
    command
}

/// An output stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// A line of output.
#[derive(Debug, Clone)]
pub struct Line {
    /// The stream to which the process wrote the line.
    pub stream: Stream,
    /// The time at which the test read the line.
    pub at: Instant,
    /// The text without the line break.
    pub text: String,
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A running process. It and its children are killed when this value is dropped, and
/// when the test process ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Locked while the child is reaped and while it is signalled. After the reaping, the
    /// system may give its id to another process, which must not receive the signal.
    child: Mutex<Child>,
    exit: watch::Sender<Option<ExitStatus>>,
    lines: Mutex<Vec<Line>>,
    /// The number of open streams. Subscribers are also notified of every line.
    output: watch::Sender<usize>,
}

impl Process {
    fn new(name: String, mut child: Child) -> Self {
        let pid = Pid::from_child(&child);
        let streams: [(Stream, Option<Box<dyn Read + Send>>); 2] = [
            (Stream::Stdout, child.stdout.take().map(|pipe| Box::new(pipe) as _)),
            (Stream::Stderr, child.stderr.take().map(|pipe| Box::new(pipe) as _)),
        ];
        let shared = Arc::new(Shared {
            child: Mutex::new(child),
            exit: watch::Sender::new(None),
            lines: Mutex::default(),
            output: watch::Sender::new(streams.len()),
        });
        for (stream, pipe) in streams {
            let shared = Arc::clone(&shared);
            thread(move || shared.read(stream, pipe));
        }
        let waiter = Arc::clone(&shared);
        thread(move || waiter.reap(pid));
        Self { name, pid, shared }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Returns all lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        lock(&self.shared.lines).clone()
    }

    /// Returns the number of lines so far, which [`Self::lines_from`] takes.
    #[must_use]
    pub fn line_count(&self) -> usize {
        lock(&self.shared.lines).len()
    }

    /// Returns the lines from index `from` on.
    #[must_use]
    pub fn lines_from(&self, from: usize) -> Vec<Line> {
        lock(&self.shared.lines).get(from..).unwrap_or_default().to_vec()
    }

    /// Waits for a line that `wanted` accepts. It may have been written before the call.
    ///
    /// # Panics
    /// When there is no such line within `deadline`, or when the process ends without
    /// it. The message contains `what` and the last lines.
    pub async fn wait_for_line(
        &self,
        deadline: Duration,
        what: impl Display,
        wanted: impl FnMut(&str) -> bool,
    ) -> Line {
        self.wait_for_line_from(0, deadline, what, wanted).await
    }

    /// Waits like [`Self::wait_for_line`], but ignores the lines before index `from`.
    pub async fn wait_for_line_from(
        &self,
        mut from: usize,
        deadline: Duration,
        what: impl Display,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Line {
        let mut output = self.shared.output.subscribe();
        let search = async {
            loop {
                let ended = *output.borrow_and_update() == 0;
                for line in self.lines_from(from) {
                    if wanted(&line.text) {
                        return Some(line);
                    }
                    from += 1;
                }
                if ended || output.changed().await.is_err() {
                    return None;
                }
            }
        };
        let found = tokio::time::timeout(deadline, search).await;
        let Ok(found) = found else { panic!("waited {deadline:?} for {what} from {}{}", self.name, self.tail()) };
        found.unwrap_or_else(|| panic!("{} ended without {what}{}", self.name, self.tail()))
    }

    /// Asks the process to end. Sends SIGTERM, not to its children.
    pub fn terminate(&self) {
        self.signal(|pid| rustix::process::kill_process(pid, Signal::TERM));
    }

    /// Kills the process and its children. Sends SIGKILL.
    pub fn kill(&self) {
        self.signal(|pid| rustix::process::kill_process_group(pid, Signal::KILL));
    }

    /// Pauses the process and its children. Sends SIGSTOP, and returns when the process
    /// has stopped.
    ///
    /// # Panics
    /// When it has not stopped within 10 seconds.
    pub fn pause(&self) {
        self.signal(|pid| rustix::process::kill_process_group(pid, Signal::STOP));
        // Threads still run for a moment after the signal has been sent.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let end = Instant::now() + Duration::from_secs(10);
        while let Ok(None) = rustix::process::waitid(WaitId::Pid(self.pid), options) {
            assert!(Instant::now() < end, "{} does not stop{}", self.name, self.tail());
            blink();
        }
    }

    /// Continues the process and its children after [`Self::pause`]. Sends SIGCONT.
    pub fn resume(&self) {
        self.signal(|pid| rustix::process::kill_process_group(pid, Signal::CONT));
    }

    /// Returns the exit status, if the process has ended.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.shared.exit.borrow()
    }

    /// Waits until the process ends.
    ///
    /// # Panics
    /// When the process has not ended within `deadline`.
    pub async fn wait(&self, deadline: Duration) -> ExitStatus {
        let mut exit = self.shared.exit.subscribe();
        let status = tokio::time::timeout(deadline, exit.wait_for(Option::is_some)).await;
        match status {
            Ok(Ok(status)) => status.expect("the status is present"),
            _ => panic!("waited {deadline:?} for {} to end{}", self.name, self.tail()),
        }
    }

    /// Waits until both streams are closed, and returns all lines. After [`Self::wait`],
    /// the last lines may still be missing from [`Self::lines`].
    pub async fn all_lines(&self) -> Vec<Line> {
        let mut output = self.shared.output.subscribe();
        // Cannot fail, because this value holds the sender.
        let _ = output.wait_for(|open| *open == 0).await;
        self.lines()
    }

    /// Waits like [`Self::all_lines`], and returns the lines of the standard output.
    pub async fn output(&self) -> Vec<String> {
        let lines = self.all_lines().await;
        lines.into_iter().filter(|line| line.stream == Stream::Stdout).map(|line| line.text).collect()
    }

    /// Returns the last lines, as the end of a message.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines = lock(&self.shared.lines);
        let last = lines.len().saturating_sub(40);
        let text: Vec<String> = lines[last..].iter().map(|line| format!("\n    {line}")).collect();
        format!("; its last lines:{}", text.concat())
    }

    fn signal(&self, send: impl FnOnce(Pid) -> rustix::io::Result<()>) {
        let _child = lock(&self.shared.child);
        if self.exit_status().is_none() {
            // Fails only if the process has just ended.
            let _ = send(self.pid);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let mut exit = self.shared.exit.subscribe();
        while exit.borrow_and_update().is_none() {
            blink();
        }
    }
}

impl Shared {
    fn read(&self, stream: Stream, pipe: Option<Box<dyn Read + Send>>) {
        let mut pipe = BufReader::new(pipe.unwrap_or_else(|| Box::new(std::io::empty())));
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            lock(&self.lines).push(Line { stream, at: Instant::now(), text });
            self.output.send_modify(|_| ());
            bytes.clear();
        }
        self.output.send_modify(|open| *open -= 1);
    }

    fn reap(&self, pid: Pid) {
        // Waits without reaping, so that the lock is held only while the child is reaped.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(rustix::process::waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
        let mut child = lock(&self.child);
        janitor::ended(pid);
        let status = child.wait().unwrap_or_default();
        self.exit.send_replace(Some(status));
    }
}

fn thread(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("testkit-process".to_owned()).spawn(run).expect("cannot start a thread");
}

/// Locks `mutex`, even if a test panicked with the lock: the others go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a signal takes its effect in microseconds, and dropping cannot be async"
)]
fn blink() {
    std::thread::sleep(Duration::from_millis(1));
}
