//! What is left when the test process is killed: a shell that cleans up.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use rustix::process::Pid;

use crate::process::lock;

/// Statics are not dropped and a process may be killed at any time, so a shell
/// outlives this process by a moment. It learns of the end by the end of its
/// input, which also tells it which processes run; each leads a group.
static JANITOR: LazyLock<Janitor> = LazyLock::new(Janitor::start);

/// Servers that were just killed may still be writing: hence the repetition.
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

/// The folder of all folders.
pub(crate) fn root() -> &'static Path {
    &JANITOR.root
}

/// Has a process that was just started killed at the end.
pub(crate) fn started(pid: Pid) {
    JANITOR.tell('+', pid);
}

/// Forgets a process that has ended. To be called before it is reaped, as its
/// number may be given to another one afterwards.
pub(crate) fn ended(pid: Pid) {
    JANITOR.tell('-', pid);
}

impl Janitor {
    fn start() -> Self {
        let root =
            tempfile::Builder::new().prefix("testkit-").tempdir().expect("a temporary folder can be made").keep();
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "testkit-janitor"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C in the terminal is not for it.
            .process_group(0)
            .spawn()
            .expect("sh can be run");
        Self { root, shell: Mutex::new(shell) }
    }

    fn tell(&self, sign: char, pid: Pid) {
        let mut shell = lock(&self.shell);
        // Without a shell there is nobody to clean up, and nothing that tests could do.
        let _ = shell.stdin.as_mut().map(|input| input.write_all(format!("{sign} {pid}\n").as_bytes()));
    }
}
