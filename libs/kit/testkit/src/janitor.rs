//! Cleans up after the test process, even if that is killed.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use rustix::process::Pid;

use crate::process::lock;

/// A shell that runs a little longer than this process: Rust does not drop statics,
/// and a killed process cannot clean up. The shell reads from a pipe which processes
/// run, each the leader of a process group. When this process ends, the pipe closes,
/// and the shell kills the groups and removes the folders.
static JANITOR: LazyLock<Janitor> = LazyLock::new(Janitor::start);

/// The loop repeats the removal because servers that were just killed may still write.
const SCRIPT: &str = r#"
    trap '' INT TERM HUP
    cd /
    running=' '
    while read -r sign pid; do
        case $sign in
            +) running="$running$pid " ;;
            -) running="${running%% $pid *} ${running#* $pid }" ;;
        esac
    done
    for pid in $running; do kill -KILL "-$pid" 2>/dev/null; done
    for i in 1 2 3 4 5 6 7 8 9; do rm -rf -- "$1" 2>/dev/null && break; sleep 0.2; done
"#;

struct Janitor {
    root: PathBuf,
    shell: Mutex<Child>,
}

/// The parent of all temporary folders.
pub(crate) fn root() -> &'static Path {
    &JANITOR.root
}

/// Registers a process that was just started, to be killed when this process ends.
pub(crate) fn started(pid: Pid) {
    JANITOR.tell('+', pid);
}

/// Removes a process that has ended. The caller must not have reaped it yet: from then
/// on, the system may give its id to another process.
pub(crate) fn ended(pid: Pid) {
    JANITOR.tell('-', pid);
}

impl Janitor {
    fn start() -> Self {
        let root =
            tempfile::Builder::new().prefix("testkit-").tempdir().expect("cannot create a temporary folder").keep();
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "testkit-janitor"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // In its own group, the shell does not receive Ctrl-C from the terminal.
            .process_group(0)
            .spawn()
            .expect("cannot run sh");
        Self { root, shell: Mutex::new(shell) }
    }

    fn tell(&self, sign: char, pid: Pid) {
        let mut shell = lock(&self.shell);
        // A test cannot do anything about a shell that has ended.
        let _ = shell.stdin.as_mut().map(|input| input.write_all(format!("{sign} {pid}\n").as_bytes()));
    }
}
