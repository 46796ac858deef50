//! Counters for a single test.

use std::sync::Arc;

use clap::Parser;
use kit_database::sqlite::Pool;
use kit_database::{Database, Options};
use testkit::{Redis, SqlBackend};
use visits_store::{MIGRATIONS, RedisArgs, RedisStore, SqliteStore, VisitStore};

/// Two counters in one store. The second one is never changed.
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn VisitStore>,
    pub(crate) other: Arc<dyn VisitStore>,
    /// The pool, on SQLite.
    pub(crate) pool: Option<Pool>,
    /// The file, on SQLite.
    pub(crate) file: Option<SqlBackend>,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    redis: RedisArgs,
}

/// Opens a counter in the Redis of the flags.
pub(crate) fn open(flags: &[String]) -> RedisStore {
    let flags = std::iter::once("test").chain(flags.iter().map(String::as_str));
    Cli::parse_from(flags).redis.open().unwrap()
}

/// Opens the counter `key` at a URL.
pub(crate) fn at(url: &str, key: &str) -> RedisStore {
    open(&[format!("--redis-url={url}"), format!("--counter-key={key}")])
}

impl Backend {
    pub(crate) async fn redis(name: &str) -> Self {
        let server = Redis::shared().await;
        let prefix = server.prefix(name);
        let store = |key| Arc::new(at(server.url(), &format!("{prefix}{key}")));
        Self { store: store("counter"), other: store("other"), pool: None, file: None }
    }

    pub(crate) async fn sqlite(_: &str) -> Self {
        let file = SqlBackend::sqlite(Options::DEFAULT);
        file.database().migrate(&MIGRATIONS).await.unwrap();
        let Database::Sqlite(pool) = file.database().clone() else { panic!("the file is one of SQLite") };
        let store = |key| Arc::new(SqliteStore::new(pool.clone(), key));
        let (store, other) = (store("counter"), store("other"));
        Self { store, other, pool: Some(pool), file: Some(file) }
    }
}
