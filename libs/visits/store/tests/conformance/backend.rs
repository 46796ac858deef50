//! Counters of one test alone.

use std::sync::Arc;

use clap::Parser;
use kit_database::sqlx::SqlitePool;
use kit_database::{Database, Options};
use testkit::{Folder, Redis};
use visits_store::{MIGRATIONS, RedisArgs, RedisStore, SqliteStore, VisitStore};

/// Two counters in one store, of which one is never touched.
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn VisitStore>,
    pub(crate) other: Arc<dyn VisitStore>,
    /// Of SQLite.
    pub(crate) pool: Option<SqlitePool>,
    _folder: Option<Folder>,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    redis: RedisArgs,
}

/// A counter in the Redis that the flags name.
pub(crate) fn open(flags: &[String]) -> RedisStore {
    let flags = std::iter::once("test").chain(flags.iter().map(String::as_str));
    Cli::parse_from(flags).redis.open().unwrap()
}

/// The counter of a URL.
pub(crate) fn at(url: &str, key: &str) -> RedisStore {
    open(&[format!("--redis-url={url}"), format!("--counter-key={key}")])
}

impl Backend {
    pub(crate) async fn redis(name: &str) -> Self {
        let server = Redis::shared().await;
        let prefix = server.prefix(name);
        let store = |key| Arc::new(at(server.url(), &format!("{prefix}{key}")));
        Self { store: store("counter"), other: store("other"), pool: None, _folder: None }
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = Folder::new("visits");
        let url = format!("sqlite://{}", folder.path().join("visits.db").display());
        let database = Database::open(&url, Options::DEFAULT).unwrap();
        database.migrate(&MIGRATIONS).await.unwrap();
        let Database::Sqlite(pool) = database else { panic!("the URL is one of SQLite") };
        let store = |key| Arc::new(SqliteStore::new(pool.clone(), key));
        let (store, other) = (store("counter"), store("other"));
        Self { store, other, pool: Some(pool), _folder: Some(folder) }
    }
}
