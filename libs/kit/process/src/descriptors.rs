//! File descriptors: each connection, file and pipe of the process needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of file descriptors that connections from clients leave to everything else:
/// connections to stores, database files, and calls to other services.
const RESERVE: usize = 128;

/// Clients get at least one in this number of file descriptors, even if there are hardly more than
/// [`RESERVE`].
const SMALLEST_PART: usize = 8;

/// Raises the soft limit of the process to the hard limit. The usual soft limit of 1024 exists for
/// programs that use `select`.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, limit = limit.current, "cannot raise the limit of file descriptors");
    }
}

/// The number of connections from clients that the process may have open at once.
#[must_use]
pub fn for_clients() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    share_of_clients(limit.unwrap_or(usize::MAX))
}

fn share_of_clients(limit: usize) -> usize {
    limit.saturating_sub(RESERVE).max(limit / SMALLEST_PART).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_enough_to_the_stores() {
        for (limit, clients) in [(0, 1), (64, 8), (128, 16), (256, 128), (1024, 896), (65_536, 65_408)] {
            assert_eq!(share_of_clients(limit), clients, "{limit}");
        }
    }
}
