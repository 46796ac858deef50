//! Free ports.

use std::fs::File;
use std::net::TcpListener;
use std::sync::Mutex;

/// Below the range that the system uses for outgoing connections, so that none of them
/// takes a port between the check and the start of the server.
const RANGE: std::ops::Range<u16> = 18_000..30_000;

/// Locked files, one for each port of this process. The system releases the locks when
/// the process ends.
static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Returns a free port on 127.0.0.1. No other test process receives it until this one
/// has ended.
#[must_use]
pub fn free_port() -> u16 {
    let mut locks = LOCKS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = std::env::temp_dir().join("testkit-ports");
    std::fs::create_dir_all(&folder).expect("cannot create the folder for port locks");
    // Test processes that run at the same time start at different ports.
    let first = std::process::id() as usize * 97 + locks.len();
    for port in RANGE.cycle().skip(first % RANGE.len()).take(RANGE.len()) {
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(port.to_string()));
        let lock = lock.expect("cannot create the lock of a port");
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            locks.push(lock);
            return port;
        }
    }
    panic!("no free port in {RANGE:?}");
}
