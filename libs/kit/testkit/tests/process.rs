//! Processes: output, signals and clean-up.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use testkit::{Launch, Stream, eventually, free_port};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Launch {
    Launch::new("sh").args(["-c", script])
}

#[tokio::test]
async fn captures_the_lines_of_both_streams() {
    let process = shell("echo out; echo err >&2; printf last").spawn();
    let line = process.wait_for_line(SOON, "the error", |line| line == "err").await;
    assert_eq!(line.stream, Stream::Stderr);
    process.wait_for_line(SOON, "a line that does not end", |line| line == "last").await;
    assert!(process.wait(SOON).await.success());
    assert_eq!(process.lines().len(), 3);
}

#[tokio::test]
#[should_panic(expected = "ended without a line that never comes")]
async fn says_when_a_line_cannot_come_any_more() {
    let process = shell("echo one").spawn();
    process.wait_for_line(SOON, "a line that never comes", |line| line == "two").await;
}

#[tokio::test]
async fn sees_only_the_environment_that_it_was_given() {
    let process = Launch::new("env").env("GIVEN", "yes").spawn();
    process.wait(SOON).await;
    process.wait_for_line(SOON, "the variable", |line| line == "GIVEN=yes").await;
    assert!(!process.lines().iter().any(|line| line.text.starts_with("CARGO")), "{:?}", process.lines());
}

#[tokio::test]
async fn has_the_output_and_the_limit_that_it_was_given() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let process = shell("ulimit -S -n; ulimit -H -n").descriptors(64, 80).stdout(writer).spawn();
    let text = std::thread::spawn(move || std::io::read_to_string(&mut reader).unwrap()).join().unwrap();
    assert_eq!(text, "64\n80\n");
    assert!(process.wait(SOON).await.success());
    assert!(process.all_lines().await.is_empty());
}

#[tokio::test]
async fn receives_signals() {
    let process = shell("trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.01; done").spawn();
    process.wait_for_line(SOON, "the trap", |line| line == "ready").await;
    process.terminate();
    assert_eq!(process.wait(SOON).await.code(), Some(7));
    process.wait_for_line(SOON, "the trap's line", |line| line == "asked").await;

    let process = shell("sleep 1000").spawn();
    process.kill();
    assert_eq!(process.wait(SOON).await.signal(), Some(9));
}

#[tokio::test]
async fn stands_still_while_paused() {
    let process = Launch::new("sleep").arg("1000").spawn();
    process.pause();
    assert_eq!(state(process.id()), Some('T'));
    process.resume();
    eventually(SOON, "the process to continue", async || (state(process.id())? == 'S').then_some(())).await;
    process.pause();
    process.kill();
    assert_eq!(process.wait(SOON).await.signal(), Some(9), "a stopped process can be killed");
}

#[tokio::test]
#[should_panic(expected = "for something that never happens: not yet")]
async fn gives_up_at_the_deadline() {
    let deadline = Duration::from_millis(30);
    eventually(deadline, "something that never happens", async || None::<()>).await;
}

#[tokio::test]
#[should_panic(expected = "for an answer: the probe did not return")]
async fn gives_up_on_a_probe_that_hangs() {
    eventually(Duration::from_millis(30), "an answer", async || std::future::pending::<Option<()>>().await).await;
}

#[tokio::test]
async fn dies_with_its_children_when_dropped() {
    let process = shell("sleep 1000 & echo $!; wait").spawn();
    let child = process.wait_for_line(SOON, "the child", |_| true).await.text.parse().unwrap();
    drop(process);
    eventually(SOON, "the end of the child", async || matches!(state(child), None | Some('Z')).then_some(())).await;
}

/// A test process that is killed leaves neither a process nor a folder behind.
#[tokio::test]
async fn nothing_survives_a_killed_test_process() {
    let this = std::env::current_exe().unwrap();
    let victim = Launch::new(this).args(["--ignored", "--nocapture", "--exact", "a_test_process_to_be_killed"]).spawn();
    let line = victim.wait_for_line(SOON, "the line of the victim", |line| line.starts_with("started ")).await.text;
    let [_, server, folder] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let server = server.parse().unwrap();
    assert!(state(server).is_some());
    assert!(std::path::Path::new(folder).exists());
    victim.kill();
    eventually(SOON, "the end of the process", async || matches!(state(server), None | Some('Z')).then_some(())).await;
    eventually(SOON, "the removal of the folder", async || (!std::path::Path::new(folder).exists()).then_some(()))
        .await;
}

#[tokio::test]
#[ignore = "the test above runs this one in a child process"]
async fn a_test_process_to_be_killed() {
    let folder = testkit::Folder::new("victim");
    // A thread that ends at once starts it, as in tests that share a server.
    let process = std::thread::spawn(|| shell("sleep 1000; :").spawn()).join().unwrap();
    println!("\nstarted {} {}", process.id(), folder.path().display());
    std::future::pending::<()>().await;
}

#[test]
fn free_ports_differ() {
    let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 50);
}

/// The state letter of a process, or `None` if there is no such process.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
