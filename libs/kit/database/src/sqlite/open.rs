//! Opens a SQLite file by URL or by path.

use std::path::Path;
use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;

use super::Pool;
use crate::{InvalidUrl, Options};

/// Opens the file of a URL. In the URL, bytes of the path may be percent-encoded.
pub(crate) fn open(url: &str, options: Options) -> Result<Pool, InvalidUrl> {
    Ok(Pool::new(self::options(url)?, options))
}

/// Opens the file at `path`. No character of it has a special meaning.
pub(crate) fn open_file(path: &Path, options: Options) -> Pool {
    // SQLite would read a relative path that begins with `file:` as a URL.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Pool::new(SqliteConnectOptions::new().filename(path), options)
}

pub(crate) fn options(url: &str) -> Result<SqliteConnectOptions, InvalidUrl> {
    SqliteConnectOptions::from_str(url).map_err(|_| InvalidUrl::Malformed("sqlite"))
}
