//! Runs a `main`: configuration, telemetry, signals, exit status.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, Invalid};
use crate::{Common, Output, Readiness, Shutdown, Spawner, TaskFailed, Tasks, descriptors, health, telemetry};

/// How long the threads of the runtime may take to end. A name lookup cannot be cancelled,
/// and takes long while the name server is away.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Shared by the services of one process.
#[derive(Debug)]
pub struct App {
    /// The registry where services register their metrics, before the admin listener
    /// starts.
    pub registry: Registry,
    /// The readiness that `/readyz` reports.
    pub readiness: Readiness,
    /// Ends the process.
    pub shutdown: Shutdown,
    /// The background tasks of the process itself.
    pub tasks: Spawner,
    /// The standard output, which receives the log.
    pub output: Output,
    /// The settings of every service.
    pub common: Common,
}

impl App {
    /// Waits for `start`, such as a migration of the database. Returns `None` if the
    /// process begins to drain meanwhile.
    pub async fn unless_draining<T, E>(&self, start: impl Future<Output = Result<T, E>>) -> Result<Option<T>, E> {
        tokio::select! {
            result = start => result.map(Some),
            () = self.shutdown.draining() => Ok(None),
        }
    }
}

/// Runs a process: reads its configuration, sets up logs, traces and signals, and
/// runs `body`.
///
/// The exit status is 2, after one line on stderr, if the configuration is wrong; 1
/// if `body` or a background task fails, or `body` does not end within the grace
/// period; else 0.
pub fn run<C: Parser>(
    service: &'static str,
    common: impl Fn(&C) -> Common,
    body: impl AsyncFnOnce(C, App) -> anyhow::Result<()>,
) -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "this is where main reads the environment")]
    let environment = |name: &str| std::env::var(name).ok();
    run_with(std::env::args_os(), environment, service, common, body)
}

fn run_with<C: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<String>,
    service: &'static str,
    common: impl Fn(&C) -> Common,
    body: impl AsyncFnOnce(C, App) -> anyhow::Result<()>,
) -> ExitCode {
    let config: C = match config::parse(arguments, environment) {
        Ok(config) => config,
        Err(Invalid::Help(help)) => help.exit(),
        Err(error) => return misconfigured(&error),
    };
    let common = common(&config);
    if common.health {
        return if health::is_ready(common.admin_address()) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let telemetry = match telemetry::init(service, &common) {
        Ok(telemetry) => telemetry,
        Err(error) => return misconfigured(&format_args!("{error:#}")),
    };
    descriptors::raise_limit();
    match on_runtime(until_shutdown(config, common, telemetry.output().clone(), body)) {
        Ok(code) => code,
        Err(error) => {
            // The supervisor has logged the failure of a task.
            if !error.is::<TaskFailed>() {
                Output::to_stderr(&format!("{error:#}\n"));
            }
            ExitCode::from(if error.is::<Invalid>() { 2 } else { 1 })
        }
    }
}

fn on_runtime<T>(process: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(process);
    runtime.shutdown_timeout(LAST_THREADS);
    result
}

fn misconfigured(error: &dyn std::fmt::Display) -> ExitCode {
    Output::to_stderr(&format!("{error}\n"));
    ExitCode::from(2)
}

async fn until_shutdown<C>(
    config: C,
    common: Common,
    output: Output,
    body: impl AsyncFnOnce(C, App) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
    let _limit = survive_file_size_limit();
    let signals = shutdown.clone().on_signals(readiness.clone(), common.shutdown_delay.0, common.shutdown_grace.0);
    tokio::spawn(signals);
    let aborted = shutdown.aborted();
    let tasks = Tasks::new(&shutdown);
    let mut registry = Registry::default();
    output.register(&mut registry);
    let app = App { registry, readiness, shutdown, tasks: tasks.spawner(), output, common };
    let result = tokio::select! {
        biased;
        result = body(config, app) => result.map(|()| ExitCode::SUCCESS),
        () = aborted => Ok(ExitCode::FAILURE),
    };
    let code = result?;
    tasks.finish()?;
    Ok(code)
}

/// From now on, a write beyond the limit of file sizes is an error, like a write to a full disk. By
/// default, its signal ends the process.
fn survive_file_size_limit() -> Option<Signal> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    const LINES: usize = 5_000;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        common: Common,
    }

    /// A process that logs lines, and then ends by `end`.
    fn process(end: impl FnOnce() -> anyhow::Result<()>) {
        let arguments = ["test", "--log=info", "--log-format=json"].map(OsString::from);
        let body = async |_: Cli, _| {
            for number in 0..LINES {
                tracing::info!(number, "a line");
            }
            end()
        };
        let _ = run_with(arguments, |_| None, "test", |cli: &Cli| cli.common.clone(), body);
    }

    #[test]
    #[ignore = "another test runs this in a child process"]
    fn a_process_that_panics() {
        process(|| panic!("on purpose"));
    }

    #[test]
    #[ignore = "another test runs this in a child process"]
    fn a_process_that_fails() {
        process(|| anyhow::bail!("on purpose"));
    }

    fn child(test: &str) -> Output {
        let test = format!("run::tests::{test}");
        let this = std::env::current_exe().unwrap();
        Command::new(this).args(["--ignored", "--nocapture", "--exact", &test]).output().unwrap()
    }

    #[test]
    fn everything_is_logged_before_the_end() {
        for (test, text_in_log) in [("a_process_that_panics", "on purpose"), ("a_process_that_fails", "a line")] {
            let output = child(test);
            let (log, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            assert_eq!(log.lines().filter(|line| line.contains("\"a line\"")).count(), LINES, "{test}: {errors}");
            let is_event = |line: &str| line.starts_with('{') && line.contains(text_in_log);
            assert!(log.lines().any(is_event), "{test}");
            assert_eq!(errors.contains("on purpose"), test == "a_process_that_fails", "{test}: {errors}");
        }
    }
}
