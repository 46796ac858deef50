//! Ports that nobody else takes meanwhile.

use std::fs::File;
use std::net::TcpListener;
use std::sync::Mutex;

/// Below what systems use for outgoing connections, so that none of those takes
/// a port between its being found free and its being listened on.
const RANGE: std::ops::Range<u16> = 18_000..30_000;

/// Locks on the ports that this process has been given; they end with it.
static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port on 127.0.0.1 that is free, and not handed out to another test process
/// until this one has ended.
#[must_use]
pub fn free_port() -> u16 {
    let mut locks = LOCKS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = std::env::temp_dir().join("testkit-ports");
    std::fs::create_dir_all(&folder).expect("a folder for the locks on ports can be made");
    // Test processes that run side by side begin at different places.
    let first = std::process::id() as usize * 97 + locks.len();
    for port in RANGE.cycle().skip(first % RANGE.len()).take(RANGE.len()) {
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(port.to_string()));
        let lock = lock.expect("a lock on a port can be made");
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            locks.push(lock);
            return port;
        }
    }
    panic!("no free port in {RANGE:?}");
}
