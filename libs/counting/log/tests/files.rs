//! Files as people and crashes leave them.

use std::path::{Path, PathBuf};
use std::process::Command;

use counting_log::{BATCH, Disk, Error, FILE, FileDisk, Folder, LOCK, Log, OpenError, Repair, Tail};
use counting_words::lines::{length, push};
use counting_words::words;
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::TempDir;

/// A folder whose file has these contents.
fn folder(contents: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(FILE), contents).expect("a file");
    folder
}

fn text(last: u64) -> Vec<u8> {
    let mut text = Vec::new();
    push(1, last, &mut text);
    text
}

fn contents(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join(FILE)).expect("the file is text")
}

fn open(folder: &Path) -> Result<(Log<FileDisk>, Option<Repair>), Error> {
    Log::open(Folder::lock(folder).expect("the folder is free").disk().expect("the file can be opened"), BATCH)
}

#[test]
fn lines_are_appended_and_found_again() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("a folder/that does not exist");
    let (mut log, repair) = open(&folder).unwrap();
    assert_eq!((log.last(), repair), (0, None));
    log.append(1).unwrap();
    log.append(1).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join(FILE)).unwrap(), "one\n");
    log.append(5_000).unwrap();
    drop(log);
    let (log, repair) = open(&folder).unwrap();
    assert_eq!((log.last(), repair), (5_000, None));
    assert_eq!(std::fs::read(folder.join(FILE)).unwrap(), text(5_000));
}

#[test]
fn stored_lines_are_read_by_number() {
    let folder = folder(b"");
    let locked = Folder::lock(folder.path()).unwrap();
    let disk = locked.disk().unwrap();
    let reader = locked.reader().unwrap();
    let (mut log, _) = Log::open(disk, BATCH).unwrap();
    log.append(30_000).unwrap();
    assert_eq!(log.read(1, 3).unwrap(), "one\ntwo\nthree\n");
    assert_eq!(log.read(29_999, 10).unwrap().lines().collect::<Vec<_>>(), [words(29_999), words(30_000)]);
    assert_eq!(log.read(30_001, 10).unwrap(), "");
    assert_eq!(log.read(7, 0).unwrap(), "");
    assert_eq!(log.read(1, u64::MAX).unwrap().into_bytes(), text(30_000));
    // A reader sees only what the log has reported as stored.
    assert_eq!(reader.read(12_345, 12_345, 5).unwrap(), words(12_345) + "\n");

    let mut changed = text(30_000);
    let at = usize::try_from(length(99)).unwrap();
    changed[at] = b'X';
    std::fs::write(folder.path().join(FILE), changed).unwrap();
    assert_eq!(reader.read(30_000, 99, 1).unwrap(), "ninety-nine\n");
    let error = reader.read(30_000, 99, 2).unwrap_err().to_string();
    assert_eq!(error, "line 100 of the file is not 100 in words: it begins with \"Xne hundred\"");
}

#[test]
fn a_second_process_is_refused_and_the_holder_named() {
    let folder = folder(b"");
    let _log = open(folder.path()).unwrap();
    let error = Folder::lock(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Lock(_)), "{error}");
    let holder = format!("process {} uses the folder {}", std::process::id(), folder.path().display());
    assert_eq!(error.to_string(), holder);
    assert_eq!(contents(&folder), "");
}

#[test]
fn torn_tails_are_repaired_and_told_apart() {
    let zeros = "\0".repeat(50);
    let half = String::from_utf8(text(50)).unwrap();
    let holed = half[..100].to_owned() + "\0\0\0\0\0\0\0\0" + &half[108..];
    for (contents_before, last, tail) in [
        ("one\ntwo\nthree".to_owned(), 3, Tail::Whole),
        ("one".to_owned(), 1, Tail::Whole),
        ("o".to_owned(), 0, Tail::Beginning),
        ("one\ntwo\nthre".to_owned(), 2, Tail::Beginning),
        ("one\ntwo\nthee".to_owned(), 2, Tail::Foreign),
        ("one\ntwo\nthree ".to_owned(), 2, Tail::Foreign),
        ("one\ntwo\ntwo".to_owned(), 2, Tail::Foreign),
        (format!("one\n{zeros}"), 1, Tail::Torn),
        (format!("one\nt{zeros}"), 1, Tail::Torn),
        (format!("one\ntwo\nthr\0e\nfour\n{zeros}"), 2, Tail::Torn),
        (holed.clone(), 16, Tail::Torn),
    ] {
        let folder = folder(contents_before.as_bytes());
        let (mut log, repair) = open(folder.path()).unwrap();
        let repair = repair.unwrap();
        assert_eq!((log.last(), repair.tail), (last, tail), "{contents_before:?}: {repair}");
        assert_eq!(contents(&folder).into_bytes(), text(last), "{contents_before:?}");
        log.append(last + 2).unwrap();
        assert_eq!(contents(&folder).into_bytes(), text(last + 2), "{contents_before:?}");
        drop(log);
        assert_eq!(open(folder.path()).unwrap().1, None);
    }
}

#[test]
fn a_repair_says_what_it_did() {
    for (contents, message) in [
        ("one\ntwo", "line 2 was whole except for its newline, which was added"),
        ("one\ntw", "line 2 was torn, and its 2 bytes were cut off"),
        ("one\n2", "line 2 was not the beginning of a number, and its 1 bytes were cut off"),
        ("one\n\0\0\0\nthree\n", "the lines from 2 on were torn, and their 10 bytes were cut off"),
    ] {
        assert_eq!(open(folder(contents.as_bytes()).path()).unwrap().1.unwrap().to_string(), message);
    }
}

#[test]
fn what_no_crash_explains_is_refused_with_its_line_and_left_alone() {
    let many = String::from_utf8(text(3_000)).unwrap();
    let hole = usize::try_from(length(1_500)).unwrap();
    let holed = many[..hole].to_owned() + "\0\0\0\0\0\0\0\0" + &many[hole + 8..];
    let long = format!("one\n{}", "x".repeat(100_000));
    for (before, line) in [
        ("one\ntwo\nthre\nfour\n", 3),
        ("one\ntwo\nfour\n", 3),
        ("one\ntwo\ntwo\n", 3),
        ("\none\n", 1),
        ("one\r\ntwo\r\n", 1),
        ("two\n", 1),
        ("one\ntwo\n\n", 3),
        ("One\n", 1),
        // A whole batch after the hole was synced.
        (holed.as_str(), 1_501),
        (long.as_str(), 2),
    ] {
        let folder = folder(before.as_bytes());
        match open(folder.path()) {
            Err(Error::Corrupt { line: found, .. }) => assert_eq!(found, line, "{before:.40}"),
            other => panic!("{before:.40}: {other:?}"),
        }
        assert_eq!(contents(&folder), before, "it is left alone");
    }
    let error = open(folder(b"one\ntwo\nthre\nfour\n").path()).unwrap_err().to_string();
    assert_eq!(error, "line 3 of the file is not 3 in words: it begins with \"thre\"");
}

#[test]
fn a_file_that_another_program_changes_is_recovered_or_refused() {
    let folder = folder(&text(5_000));
    let path = folder.path().join(FILE);
    let (mut log, _) = open(folder.path()).unwrap();
    // Shortened by less than a batch: the lines are known, and are written again.
    std::fs::write(&path, text(4_500)).unwrap();
    assert!(matches!(log.append(5_001), Err(Error::Changed { .. })));
    log.append(5_001).unwrap();
    assert_eq!(contents(&folder).into_bytes(), text(5_001));
    // By more, within a line, or completely.
    for (last, rest) in [(5_002, length(3_500)), (5_003, length(7) - 2), (5_004, 0)] {
        std::fs::write(&path, &text(5_000)[..usize::try_from(rest).unwrap()]).unwrap();
        assert!(matches!(log.append(last), Err(Error::Changed { .. })));
        log.append(last).unwrap();
        assert_eq!(log.last(), last);
        assert_eq!(contents(&folder).into_bytes(), text(last));
    }
    // Shortened, and with a wrong line: refused until another program corrects the line.
    std::fs::write(&path, "one\ntwo\nthre\nfour\n").unwrap();
    assert!(matches!(log.append(5_005), Err(Error::Changed { .. })));
    assert!(matches!(log.append(5_005), Err(Error::Corrupt { line: 3, .. })));
    std::fs::write(&path, "one\ntwo\n").unwrap();
    log.append(5_005).unwrap();
    assert_eq!(contents(&folder).into_bytes(), text(5_005));
}

#[test]
fn a_file_that_is_removed_or_replaced_is_noticed_and_written_again() {
    let folder = folder(&text(3_000));
    let path = folder.path().join(FILE);
    let (mut log, _) = open(folder.path()).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    let changes: [&dyn Fn(); 3] =
        [&|| std::fs::remove_file(&path).unwrap(), &|| std::fs::rename(&path, &elsewhere).unwrap(), &|| {
            std::fs::copy(&path, &elsewhere).unwrap();
            std::fs::rename(&elsewhere, &path).unwrap();
        }];
    for (change, last) in changes.into_iter().zip(3_001..) {
        change();
        let error = log.append(last).unwrap_err().to_string();
        assert_eq!(error, "cannot read the file: another program removed or replaced it");
        log.append(last).unwrap();
        assert_eq!(contents(&folder).into_bytes(), text(last));
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let error = Folder::lock(Path::new("/proc/nowhere")).unwrap_err().to_string();
    assert!(error.contains("/proc/nowhere"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(FILE)).unwrap();
    let error = Folder::lock(folder.path()).unwrap().disk().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
    assert!(error.to_string().contains(FILE), "{error}");
    std::fs::create_dir(folder.path().join("other")).unwrap();
    std::fs::create_dir(folder.path().join("other").join(LOCK)).unwrap();
    let error = Folder::lock(&folder.path().join("other")).unwrap_err().to_string();
    assert!(error.contains(LOCK), "{error}");
}

/// A disk whose file must not be opened again: shows that nothing is left to recover.
#[test]
fn an_open_file_is_settled() {
    struct NoReopen(FileDisk);
    impl Disk for NoReopen {
        fn reopen(&mut self) -> std::io::Result<()> {
            panic!("nothing failed")
        }
        fn length(&self) -> std::io::Result<u64> {
            self.0.length()
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
            self.0.read_at(buffer, offset)
        }
        fn write_at(&mut self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
            self.0.write_at(bytes, offset)
        }
        fn truncate(&mut self, length: u64) -> std::io::Result<()> {
            self.0.truncate(length)
        }
        fn sync(&mut self) -> std::io::Result<()> {
            self.0.sync()
        }
    }
    let folder = folder(b"one\ntw");
    let (mut log, _) = Log::open(NoReopen(Folder::lock(folder.path()).unwrap().disk().unwrap()), BATCH).unwrap();
    log.append(3_000).unwrap();
}

/// Bytes that the files of the other process may have.
const LIMIT: u64 = 64 * 1024;

/// Runs a test of this program in a process whose files may not grow beyond the limit. Such
/// writes are an error there, not a signal.
#[test]
fn a_disk_without_room_stores_nothing_and_goes_on_later() {
    let folder = folder(b"");
    let status = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" \"$@\"", LIMIT / 512)])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "without_room", "--nocapture"])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(contents(&folder).into_bytes(), text(3_000));
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn without_room() {
    let here = PathBuf::from(".");
    let (mut log, _) = open(&here).unwrap();
    let mut failed = 0;
    for last in 1..=3_000 {
        if let Err(error) = log.append(last) {
            assert!(matches!(error, Error::Disk { .. }), "{error}");
            failed += 1;
            assert_eq!(log.last(), last - 1);
            assert!(length(last) > LIMIT, "{last} has room");
            // Again in vain; what is stored is still there.
            log.append(last).unwrap_err();
            assert_eq!(log.read(1, last).unwrap().into_bytes(), text(last - 1));
            setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
            log.append(last).unwrap();
        }
    }
    assert_eq!((failed, log.last()), (1, 3_000));
}
