//! Processes that die and are replaced, each behind a network of its own.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::{Launch, Line, Process, Proxy};
use tokio::sync::OwnedMutexGuard;

use crate::faults::lock;

/// How long a process may take to be gone after SIGKILL.
const REAPED: Duration = Duration::from_secs(10);

/// Makes the launch of a life from its name.
type Build = Box<dyn Fn(&str) -> Launch + Send + Sync>;

/// A place for a process: when one dies, the next takes it under a new name, as
/// the pods of a Deployment do. The network in front of it stays.
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
    /// Whether its end was asked for.
    ending: bool,
    /// How many of its lines are in the log file.
    written: usize,
}

impl Member {
    /// A place that is empty at first, with its log file in `logs`.
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

    /// The name of the place.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The network in front of it.
    pub(crate) const fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Starts the next life.
    pub(crate) fn start(&self) {
        let mut lives = lock(&self.lives);
        let name = format!("{}.{}", self.name, lives.len() + 1);
        let process = Arc::new((self.build)(&name).name(&name).spawn());
        lives.push(Life { name, process, ending: false, written: 0 });
    }

    /// The name of the present life; the last one if there is none.
    pub(crate) fn life(&self) -> String {
        lock(&self.lives).last().map(|life| life.name.clone()).unwrap_or_default()
    }

    /// Ends the present life at once.
    pub(crate) fn kill(&self) {
        if let Some(process) = self.end() {
            process.kill();
        }
    }

    /// Ends the present life at once, and waits until it is gone.
    pub(crate) async fn kill_and_wait(&self) {
        if let Some(process) = self.end() {
            process.kill();
            process.wait(REAPED).await;
        }
    }

    /// Asks the present life to end, and waits until it has.
    pub(crate) async fn terminate_and_wait(&self, deadline: Duration) {
        if let Some(process) = self.end() {
            process.terminate();
            process.wait(deadline).await;
        }
    }

    /// Stops the process where it is.
    pub(crate) fn pause(&self) {
        if let Some(process) = self.process() {
            process.pause();
        }
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        if let Some(process) = self.process() {
            process.resume();
        }
    }

    /// The process of the present or last life.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        lock(&self.lives).last().map(|life| Arc::clone(&life.process))
    }

    /// Keeps other faults away from it, unless one is there already.
    pub(crate) fn try_reserve(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.reserved).try_lock_owned().ok()
    }

    /// Every line of every life, in order.
    pub(crate) fn all_lines(&self) -> Vec<Line> {
        lock(&self.lives).iter().flat_map(|life| life.process.lines()).collect()
    }

    /// Those lives that ended without being asked to, with how.
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

    /// Adds what was written since the last time to the log file.
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
        // A panic may be under way; the rest of the report counts more.
        let _ = self.write_log();
    }
}

/// Writes the members' logs to their files every second, until it is aborted;
/// what is left is written when a member is dropped.
pub(crate) async fn write_logs(members: Vec<Arc<Member>>) -> Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for member in &members {
            member.write_log()?;
        }
    }
}

/// The programs to run, which are built beside this one.
#[derive(Debug, Clone)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Those in `folder`; beside this program, if there is none given.
    pub(crate) fn find(folder: Option<PathBuf>) -> Result<Self> {
        if let Some(folder) = folder {
            return Ok(Self(folder));
        }
        let this = std::env::current_exe().context("finding this program")?;
        Ok(Self(this.parent().context("this program is in a folder")?.to_owned()))
    }

    /// The path of one of them.
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
        // Nothing listens there, and nobody connects.
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
