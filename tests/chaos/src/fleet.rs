//! Processes that are killed and replaced, each behind a proxy of its own.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::{Launch, Line, Process, Proxy};
use tokio::sync::OwnedMutexGuard;

use crate::faults::lock;

/// Time limit for a process to end after SIGKILL.
const REAPED: Duration = Duration::from_secs(10);

/// Builds the launch of a process from its name.
type Build = Box<dyn Fn(&str) -> Launch + Send + Sync>;

/// A member of a fleet: when its process dies, the next one replaces it under a new name,
/// like the pods of a Deployment. The proxy in front of it stays.
pub(crate) struct Member {
    name: String,
    proxy: Proxy,
    build: Build,
    log: PathBuf,
    lives: Mutex<Vec<Life>>,
    reserved: Arc<tokio::sync::Mutex<()>>,
}

struct Life {
    name: String,
    process: Arc<Process>,
    /// Whether its termination was requested.
    ending: bool,
    /// Number of its lines that are in the log file.
    written: usize,
}

impl Member {
    /// Creates a member without a process, with its log file in `logs`.
    pub(crate) fn new(
        name: &str,
        proxy: Proxy,
        logs: &Path,
        build: impl Fn(&str) -> Launch + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            proxy,
            build: Box::new(build),
            log: logs.join(format!("{name}.log")),
            lives: Mutex::default(),
            reserved: Arc::default(),
        })
    }

    /// Name of the member.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The proxy in front of the process.
    pub(crate) const fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Starts the next process.
    pub(crate) fn start(&self) {
        let mut lives = lock(&self.lives);
        let name = format!("{}.{}", self.name, lives.len() + 1);
        let process = Arc::new((self.build)(&name).name(&name).spawn());
        lives.push(Life { name, process, ending: false, written: 0 });
    }

    /// Name of the present process, or of the last one if there is none.
    pub(crate) fn life(&self) -> String {
        lock(&self.lives).last().map(|life| life.name.clone()).unwrap_or_default()
    }

    /// Kills the present process.
    pub(crate) fn kill(&self) {
        if let Some(process) = self.end() {
            process.kill();
        }
    }

    /// Kills the present process, and waits until it has ended.
    pub(crate) async fn kill_and_wait(&self) {
        if let Some(process) = self.end() {
            process.kill();
            process.wait(REAPED).await;
        }
    }

    /// Sends SIGTERM to the present process, and waits until it has ended.
    pub(crate) async fn terminate_and_wait(&self, deadline: Duration) {
        if let Some(process) = self.end() {
            process.terminate();
            process.wait(deadline).await;
        }
    }

    /// Suspends the process.
    pub(crate) fn pause(&self) {
        if let Some(process) = self.process() {
            process.pause();
        }
    }

    /// Resumes the process.
    pub(crate) fn resume(&self) {
        if let Some(process) = self.process() {
            process.resume();
        }
    }

    /// The present or the last process.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        lock(&self.lives).last().map(|life| Arc::clone(&life.process))
    }

    /// Reserves the member for a fault, unless another fault has reserved it.
    pub(crate) fn try_reserve(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.reserved).try_lock_owned().ok()
    }

    /// Reserves the member for a fault, once no other fault has reserved it.
    pub(crate) async fn reserve(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.reserved).lock_owned().await
    }

    /// All lines that its processes logged, in order.
    pub(crate) fn all_lines(&self) -> Vec<Line> {
        lock(&self.lives).iter().flat_map(|life| life.process.lines()).collect()
    }

    /// Processes that ended without a request, with their exit status.
    pub(crate) fn unasked_ends(&self) -> Vec<String> {
        let lives = lock(&self.lives);
        let unasked = lives.iter().filter(|life| !life.ending).filter_map(|life| {
            let status = life.process.exit_status()?;
            Some(format!("{}: {status}{}", life.name, life.process.tail()))
        });
        unasked.collect()
    }

    fn end(&self) -> Option<Arc<Process>> {
        let mut lives = lock(&self.lives);
        let life = lives.last_mut()?;
        life.ending = true;
        Some(Arc::clone(&life.process))
    }

    /// Appends the lines since the last call to the log file.
    fn write_log(&self) -> Result<()> {
        let mut text = String::new();
        for life in lock(&self.lives).iter_mut() {
            let lines = life.process.lines_from(life.written);
            life.written += lines.len();
            for line in lines {
                text.push_str(&line.text);
                text.push('\n');
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut file = File::options().create(true).append(true).open(&self.log)?;
        file.write_all(text.as_bytes()).with_context(|| format!("writing {}", self.log.display()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The thread may be panicking. The rest of the report matters more.
        let _ = self.write_log();
    }
}

/// Writes the members' logs to their files every second, until it is aborted. Dropping a
/// member writes its remaining lines.
pub(crate) async fn write_logs(members: Vec<Arc<Member>>) -> Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for member in &members {
            member.write_log()?;
        }
    }
}

/// Folder of the programs to run, which are built beside this one.
#[derive(Debug, Clone)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Uses `folder`, or by default the folder of this program.
    pub(crate) fn find(folder: Option<PathBuf>) -> Result<Self> {
        if let Some(folder) = folder {
            return Ok(Self(folder));
        }
        let this = std::env::current_exe().context("finding this program")?;
        Ok(Self(this.parent().context("this program is in a folder")?.to_owned()))
    }

    /// Path of a program.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        anyhow::ensure!(path.is_file(), "there is no {}: build it first, as ci/chaos does", path.display());
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn member(logs: &Path, script: &'static str) -> Arc<Member> {
        // Nothing listens at this address, and no client connects.
        let proxy = Proxy::start(([127, 0, 0, 1], 9).into()).await;
        Member::new("m", proxy, logs, move |name| Launch::new("sh").args(["-c", script]).env("NAME", name))
    }

    #[tokio::test]
    async fn each_life_has_a_name_and_all_are_logged() {
        let folder = testkit::Folder::new("fleet");
        let member = member(folder.path(), "echo I am $NAME; exec sleep 1000").await;
        for life in ["m.1", "m.2"] {
            member.start();
            assert_eq!(member.life(), life);
            let process = member.process().unwrap();
            process.wait_for_line(REAPED, "its name", |line| line == format!("I am {life}")).await;
            member.kill_and_wait().await;
        }
        assert_eq!(member.unasked_ends(), Vec::<String>::new());
        assert_eq!(member.all_lines().len(), 2);
        drop(member);
        assert_eq!(std::fs::read_to_string(folder.path().join("m.log")).unwrap(), "I am m.1\nI am m.2\n");
    }

    #[tokio::test]
    async fn an_end_that_nobody_asked_for_is_noticed() {
        let folder = testkit::Folder::new("fleet");
        let member = member(folder.path(), "echo oh; exit 3").await;
        member.start();
        member.process().unwrap().wait(REAPED).await;
        let ends = member.unasked_ends();
        assert!(ends.len() == 1 && ends[0].contains("exit status: 3"), "{ends:?}");
    }

    #[tokio::test]
    async fn one_fault_at_a_time() {
        let folder = testkit::Folder::new("fleet");
        let member = member(folder.path(), "").await;
        let first = member.try_reserve();
        assert!(first.is_some() && member.try_reserve().is_none());
        drop(first);
        assert!(member.try_reserve().is_some());
    }
}
