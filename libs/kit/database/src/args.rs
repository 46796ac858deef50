//! Command-line arguments for a database.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::{Database, InvalidUrl, Options};

/// The database to use.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Where the data is: `mysql://user:password@host:port/database` or `sqlite://path`.
    #[arg(long = "database-url", env = "DATABASE_URL", hide_env_values = true, value_parser = checked)]
    url: SecretString,
}

impl DatabaseArgs {
    /// The database at `url`, without command-line arguments.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        checked(url).map(|url| Self { url })
    }

    /// Prepares a pool. Connections are made when they are needed.
    pub fn open(&self, options: Options) -> Result<Database, InvalidUrl> {
        Database::open(self.url.expose_secret(), options)
    }
}

fn checked(url: &str) -> Result<SecretString, InvalidUrl> {
    crate::open::check(url)?;
    Ok(SecretString::from(url))
}
