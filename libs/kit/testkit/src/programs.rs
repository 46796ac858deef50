//! Finds programs.

use std::path::PathBuf;

/// Finds a program in `PATH` and in the usual folders of servers.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Finds the first installed of several programs.
///
/// # Panics
/// When none is installed. The message names the Debian package that contains it, and
/// the variable that can name a running server instead.
pub(crate) fn require(programs: &[&str], package: &str, variable: &str) -> PathBuf {
    programs.iter().find_map(|program| find(program)).unwrap_or_else(|| {
        panic!(
            "{} is missing: `apt-get install {package}`, or set {variable} to a running server",
            programs.join(" or ")
        )
    })
}

/// Reads a variable that names a running server.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the test process is the main program here, and this its setting")]
    std::env::var(name).ok()
}
