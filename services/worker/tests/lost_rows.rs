//! Worker processes and a manager on a database that loses rows: a user empties a table, or a
//! replica without the last transactions becomes the primary.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kit_database::sqlx::{self, AssertSqlSafe, MySqlConnection};
use kit_database::{Database, Options};
use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness, Shutdown};
use serde_json::Value;
use testkit::{Launch, MariaDb, Process, TestDatabase, eventually};
use worker_manager::Mode;

/// Time limit of each wait, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Number of ids; any two workers have room for them.
const IDS: i64 = 30;

/// For how many seconds in a row the ticks must be right.
const SECONDS: i64 = 2;

struct System {
    database: TestDatabase,
    user: MySqlConnection,
    workers: BTreeMap<String, Process>,
    manager: Shutdown,
}

impl System {
    /// Starts three workers and a manager, and waits until all ids tick.
    async fn start(name: &str) -> Self {
        let database = MariaDb::shared().await.database(name).await;
        let user = database.connect().await;
        let manager = manage(database.url()).await;
        let mut system = Self { database, user, workers: BTreeMap::new(), manager };
        for name in ["a", "b", "c"] {
            system.start_worker(name);
        }
        system.insert(1..=IDS).await;
        system.ticks_each_id_once().await;
        system
    }

    fn start_worker(&mut self, name: &str) {
        let launch = Launch::new(env!("CARGO_BIN_EXE_worker"))
            .name(name)
            .env("WORKER_NAME", name)
            .env("DATABASE_URL", self.database.url())
            .env("ADMIN_LISTEN", "127.0.0.1:0")
            // All workers end at once, so none could take over ids.
            .env("DRAIN_TIMEOUT", "0s")
            .env("LOG_FORMAT", "json");
        self.workers.insert(name.to_owned(), launch.spawn());
    }

    async fn insert(&mut self, ids: impl IntoIterator<Item = i64>) {
        let rows: Vec<String> = ids.into_iter().map(|id| format!("({id})")).collect();
        self.sql(&format!("INSERT INTO `values` (id) VALUES {}", rows.join(","))).await;
    }

    async fn sql(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.user).await.unwrap();
    }

    async fn numbers(&mut self, sql: &'static str) -> Vec<i64> {
        sqlx::query_scalar(sql).fetch_all(&mut self.user).await.unwrap()
    }

    /// The number under which the worker of this name registered last.
    async fn incarnation(&mut self, name: &str) -> i64 {
        let sql = "SELECT incarnation FROM workers WHERE name = ? ORDER BY incarnation DESC LIMIT 1";
        sqlx::query_scalar(sql).bind(name).fetch_one(&mut self.user).await.unwrap()
    }

    /// The name of the worker with the lowest or the highest number.
    async fn worker_at(&mut self, end: &str) -> String {
        let sql = format!("SELECT name FROM workers ORDER BY incarnation {end} LIMIT 1");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.user).await.unwrap()
    }

    /// Waits until, for some seconds in a row, all workers together report each id of the
    /// table exactly once a second.
    async fn ticks_each_id_once(&mut self) {
        let ids = self.numbers("SELECT id FROM `values` ORDER BY id").await;
        let from: BTreeMap<&String, usize> =
            self.workers.iter().map(|(name, process)| (name, process.line_count())).collect();
        let what = "every worker to register, and every id to tick exactly once a second";
        eventually(PATIENCE, what, async || {
            let reports: Vec<BTreeMap<i64, Vec<i64>>> =
                self.workers.iter().map(|(name, process)| reports(process, from[name])).collect();
            let right = |second: i64| {
                let all: Option<Vec<&Vec<i64>>> = reports.iter().map(|report| report.get(&second)).collect();
                let mut reported: Vec<i64> = all?.into_iter().flatten().copied().collect();
                reported.sort_unstable();
                (reported == ids).then_some(())
            };
            let seconds: BTreeSet<i64> = reports.iter().flat_map(|report| report.keys().copied()).collect();
            seconds.into_iter().find(|first| (*first..first + SECONDS).all(|second| right(second).is_some()))
        })
        .await;
        let broken = "SELECT id FROM `values` WHERE value - initial_value <> last_tick - first_tick";
        assert_eq!(self.numbers(broken).await, [0_i64; 0]);
    }

    async fn end(self) {
        self.manager.drain();
        for process in self.workers.values() {
            process.terminate();
        }
        for process in self.workers.values() {
            assert!(process.wait(PATIENCE).await.success(), "{}", process.tail());
        }
    }
}

/// Starts a manager in this process.
async fn manage(url: &str) -> Shutdown {
    let database = Database::open(url, Options::DEFAULT).unwrap();
    database.migrate(&values_store::MIGRATIONS).await.unwrap();
    let config = worker_manager::Config {
        name: "manager".to_owned(),
        capacity: 20,
        spare: 0,
        min_workers: 1,
        max_workers: 10,
        scaling_mode: Mode::Manual,
        quiet_window: HumanDuration(Duration::ZERO),
        dead_after: HumanDuration(Duration::from_secs(2)),
    };
    let deps = worker_manager::Deps {
        store: values_store::open(&database),
        scaler: None,
        metrics: worker_manager::Metrics::register(&mut Registry::default()),
        check: Readiness::default().check("database"),
    };
    let shutdown = Shutdown::new();
    tokio::spawn(worker_manager::build(config, deps).run(shutdown.clone()));
    shutdown
}

/// The ids that the worker reported for each second, in its lines from `from` on.
fn reports(process: &Process, from: usize) -> BTreeMap<i64, Vec<i64>> {
    let lines = process.lines_from(from);
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
    let ids = |line: &Value| {
        let values = line["values"].as_str().unwrap_or_default();
        values.split(' ').filter_map(|pair| pair.split_once('=')?.0.parse().ok()).collect()
    };
    lines
        .filter(|line| line["message"] == "tick")
        .filter_map(|line| Some((line["second"].as_i64()?, ids(&line))))
        .collect()
}

async fn registered(process: &Process, from: usize) {
    let wanted = |line: &str| line.contains(r#""message":"registered""#);
    process.wait_for_line_from(from, PATIENCE, "its registration", wanted).await;
}

#[tokio::test]
async fn a_worker_registers_anew_when_its_number_comes_again() {
    let mut system = System::start("number_again").await;

    // The table is emptied. The other two get the numbers 1 and 2 before the worker that
    // had number 1 runs again.
    let older = system.worker_at("ASC").await;
    assert_eq!(system.incarnation(&older).await, 1);
    let from: BTreeMap<String, usize> =
        system.workers.iter().map(|(name, process)| (name.clone(), process.line_count())).collect();
    system.workers[&older].pause();
    system.sql("TRUNCATE workers").await;
    for (name, process) in system.workers.iter().filter(|(name, _)| **name != older) {
        registered(process, from[name]).await;
    }
    assert_ne!(system.worker_at("ASC").await, older);
    system.workers[&older].resume();
    registered(&system.workers[&older], from[&older]).await;
    assert_eq!(system.incarnation(&older).await, 3);
    system.ticks_each_id_once().await;

    // A replica that has not seen the last registration becomes the primary, and gives the
    // number to a new worker before the older one runs again.
    let older = system.worker_at("DESC").await;
    let from = system.workers[&older].line_count();
    system.workers[&older].pause();
    system.sql("DELETE FROM workers WHERE incarnation = 3; ALTER TABLE workers AUTO_INCREMENT = 3").await;
    system.start_worker("d");
    registered(&system.workers["d"], 0).await;
    assert_eq!(system.incarnation("d").await, 3);
    system.workers[&older].resume();
    registered(&system.workers[&older], from).await;
    assert_eq!(system.incarnation(&older).await, 4);
    system.ticks_each_id_once().await;
    system.end().await;
}

#[tokio::test]
async fn the_system_goes_on_when_a_table_is_emptied() {
    let mut system = System::start("emptied").await;
    let term = system.numbers("SELECT term FROM manager_lease").await;

    system.sql("TRUNCATE manager_lease").await;
    system.insert([IDS + 1]).await;
    system.ticks_each_id_once().await;
    assert!(system.numbers("SELECT term FROM manager_lease").await > term);

    system.sql("TRUNCATE workers").await;
    system.ticks_each_id_once().await;

    system.sql("TRUNCATE `values`").await;
    system.ticks_each_id_once().await;
    system.insert(1..=IDS).await;
    system.ticks_each_id_once().await;

    system.sql("TRUNCATE _values_migrations").await;
    system.start_worker("d");
    system.ticks_each_id_once().await;

    system.sql("TRUNCATE workers; TRUNCATE manager_lease; TRUNCATE `values`; TRUNCATE _values_migrations").await;
    system.insert(1..=IDS).await;
    system.ticks_each_id_once().await;
    system.end().await;
}
