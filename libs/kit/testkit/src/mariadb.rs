//! A MariaDB or MySQL server.

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::sync::OnceCell;
use url::Url;

use crate::server::{Private, Server, address, unique};
use crate::{Folder, Launch, free_port, programs};

const VARIABLE: &str = "TEST_DATABASE_URL";

/// The settings of a private server.
#[derive(Debug, Clone)]
pub struct MariaDbOptions {
    /// Whether the server flushes each commit to disk before it acknowledges it, as in production.
    pub durable: bool,
    /// Whether the server writes a row-based binary log.
    pub row_binlog: bool,
    /// Additional command-line arguments of the server.
    pub arguments: Vec<String>,
}

impl Default for MariaDbOptions {
    fn default() -> Self {
        Self { durable: true, row_binlog: false, arguments: Vec::new() }
    }
}

/// Settings that an administrator may choose, and that change the meaning of statements, their
/// limits, or when they are committed.
const HOSTILE: &[&str] = &[
    "--autocommit=0",
    "--sql-mode=",
    "--transaction-isolation=SERIALIZABLE",
    "--character-set-server=latin1",
    "--collation-server=latin1_swedish_ci",
    "--lower-case-table-names=1",
    "--default-storage-engine=MyISAM",
    "--default-time-zone=+05:30",
    "--innodb-lock-wait-timeout=50",
    "--group-concat-max-len=4",
    // Servers run it for each session of a user who is not an administrator.
    "--init-connect=SET autocommit = 0, completion_type = 1, sql_safe_updates = 1, sql_select_limit = 1, \
     sql_big_selects = 0, max_join_size = 1, unique_checks = 0, foreign_key_checks = 0, lock_wait_timeout = 1, \
     wait_timeout = 1, net_write_timeout = 1, net_read_timeout = 1, sql_auto_is_null = 1, \
     div_precision_increment = 0, character_set_results = latin1, character_set_connection = latin1 \
     /*M! , max_statement_time = 5, check_constraint_checks = 0 */ /*!80000 , max_execution_time = 5000 */, \
     sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,NO_UNSIGNED_SUBTRACTION'; \
     SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
];

/// A private server, or the one that `TEST_DATABASE_URL` names.
#[derive(Debug)]
pub struct MariaDb {
    url: Url,
    /// The user of the databases; `None` for the user with all privileges.
    user: Option<&'static str>,
    private: Option<Private>,
}

impl MariaDb {
    /// Returns the server that all tests of this binary share. Each test must keep to
    /// its own [`database`](Self::database).
    pub async fn shared() -> &'static Self {
        Self::shared_with(MariaDbOptions::default()).await
    }

    /// Returns the shared server. The first call starts it with `options`; all tests of
    /// a binary should pass the same.
    pub async fn shared_with(options: MariaDbOptions) -> &'static Self {
        static SHARED: OnceCell<MariaDb> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match programs::variable(VARIABLE) {
                Some(url) => {
                    Self { url: Url::parse(&url).expect("TEST_DATABASE_URL is a URL"), user: None, private: None }
                }
                None => Self::start(options).await,
            })
            .await
    }

    /// Returns a private server with hostile settings that all tests of this binary share.
    /// The user of its databases is not an administrator.
    pub async fn hostile() -> &'static Self {
        static HOSTILE_SERVER: OnceCell<MariaDb> = OnceCell::const_new();
        HOSTILE_SERVER
            .get_or_init(async || {
                let arguments = HOSTILE.iter().map(ToString::to_string).collect();
                let options = MariaDbOptions { durable: false, arguments, ..MariaDbOptions::default() };
                let server = Self { user: Some("service"), ..Self::start(options).await };
                server.execute("CREATE USER 'service'@'127.0.0.1'").await;
                server
            })
            .await
    }

    /// Returns a private server that takes packets of 1 MiB, which all tests of this binary
    /// share.
    pub async fn small_packets() -> &'static Self {
        static SMALL_PACKETS: OnceCell<MariaDb> = OnceCell::const_new();
        SMALL_PACKETS
            .get_or_init(async || {
                let arguments = vec!["--max-allowed-packet=1M".to_owned()];
                Self::start(MariaDbOptions { durable: false, arguments, ..MariaDbOptions::default() }).await
            })
            .await
    }

    /// Starts a server for one test.
    ///
    /// # Panics
    /// When no server is installed, or when it does not start.
    pub async fn start(options: MariaDbOptions) -> Self {
        let server = programs::require(&["mariadbd", "mysqld"], "mariadb-server", VARIABLE);
        let folder = Folder::new("mariadb");
        initialise(&server, folder.path(), &options.arguments);
        let port = free_port();
        let launch = launch(&server, folder.path(), port, options);
        let url = Url::parse(&format!("mysql://root@127.0.0.1:{port}")).expect("a URL");
        let database = Self { url, user: None, private: Some(Private::new("MariaDB", folder, launch)) };
        database.up().await;
        database
    }

    /// The URL of the server, without a database, for a user with all privileges.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The address on which the server listens.
    ///
    /// # Panics
    /// When `TEST_DATABASE_URL` contains a host name instead of an address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.url, 3306)
    }

    /// Creates an empty database whose name begins with `name`, with the character set that is
    /// the server's default.
    pub async fn database(&self, name: &str) -> TestDatabase {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect();
        let name = unique(&name, '_');
        self.execute(&format!("CREATE DATABASE {name}")).await;
        let mut url = self.url.clone();
        if let Some(user) = self.user {
            self.execute(&format!("GRANT ALL ON {name}.* TO '{user}'@'127.0.0.1'")).await;
            url.set_username(user).expect("a URL with a host");
        }
        url.set_path(&name);
        TestDatabase { server: self.url.clone(), name, url, private: self.private.is_some() }
    }

    /// Runs statements on a new connection, as a user with all privileges.
    ///
    /// # Panics
    /// When a statement fails.
    pub async fn execute(&self, sql: &str) {
        execute(&self.url, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The data folder of a private server. It contains the binary log.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.private().folder().path().join("data")
    }

    /// The files of the binary log, oldest first.
    #[must_use]
    pub fn binlogs(&self) -> Vec<PathBuf> {
        let is_binlog = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix("binlog.").is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
        };
        let entries = std::fs::read_dir(self.data()).expect("cannot read the data folder of the server");
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_binlog).collect();
        files.sort();
        files
    }
}

impl Server for MariaDb {
    fn private(&self) -> &Private {
        self.private.as_ref().expect("faults need a private server: use MariaDb::start")
    }

    async fn ping(&self) -> Result<(), impl Display + Debug> {
        execute(&self.url, "SELECT 1").await
    }
}

/// A database for one test. It is dropped from the server with this value.
#[derive(Debug)]
pub struct TestDatabase {
    server: Url,
    name: String,
    url: Url,
    private: bool,
}

impl TestDatabase {
    /// The URL of the database, for a user with all privileges on it.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens a connection to the database.
    ///
    /// # Panics
    /// When the server does not accept the connection.
    pub async fn connect(&self) -> MySqlConnection {
        MySqlConnection::connect(self.url.as_str()).await.expect("cannot connect to the test database")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.private {
            // The folder of the server is removed as a whole.
            return;
        }
        let (url, sql) = (self.server.clone(), format!("DROP DATABASE IF EXISTS {}", self.name));
        // In a new runtime, because that of the test may be shutting down.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime
                .block_on(async { tokio::time::timeout(Duration::from_secs(10), execute(&url, &sql)).await })?
                .map_err(std::io::Error::other)
        });
        if let Ok(Err(error)) = dropping.join() {
            eprintln!("cannot drop the test database {}: {error}", self.name);
        }
    }
}

async fn execute(url: &Url, sql: &str) -> sqlx::Result<()> {
    let mut connection = MySqlConnection::connect(url.as_str()).await?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?;
    connection.close().await
}

/// Creates the system tables. MySQL stores how it treats the case of names.
fn initialise(server: &Path, folder: &Path, arguments: &[String]) {
    let datadir = format!("--datadir={}", folder.join("data").display());
    // Servers that share a folder would remove each other's temporary tables.
    let tmpdir = folder.join("tmp");
    std::fs::create_dir(&tmpdir).expect("cannot create a folder");
    let mut command = if is_mariadb(server) {
        let install = programs::require(&["mariadb-install-db"], "mariadb-server", VARIABLE);
        let mut command = std::process::Command::new(install);
        command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &datadir]);
        command
    } else {
        let mut command = std::process::Command::new(server);
        command.args(["--no-defaults", "--initialize-insecure", &datadir]);
        command.args(arguments.iter().filter(|argument| argument.starts_with("--lower-case-table-names")));
        command
    };
    let output = command
        .env("TMPDIR", tmpdir)
        .args(user())
        .stdin(Stdio::null())
        .output()
        .expect("cannot run the program that creates the system tables");
    assert!(
        output.status.success(),
        "cannot create the system tables: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn launch(server: &Path, folder: &Path, port: u16, options: MariaDbOptions) -> Launch {
    let in_folder = |name: &str| folder.join(name).display().to_string();
    // Without name resolution, root connects from an address, and MySQL creates no such user.
    let init = "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';\n\
                GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n";
    std::fs::write(in_folder("init.sql"), init).expect("cannot write a file");
    let mut launch = Launch::new(server).name("MariaDB").args([
        "--no-defaults".to_owned(),
        format!("--datadir={}", in_folder("data")),
        format!("--socket={}", in_folder("socket")),
        format!("--tmpdir={}", in_folder("tmp")),
        format!("--pid-file={}", in_folder("pid")),
        format!("--init-file={}", in_folder("init.sql")),
        format!("--port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--skip-name-resolve".to_owned(),
        "--max-connections=500".to_owned(),
        "--performance-schema=OFF".to_owned(),
        "--innodb-buffer-pool-size=64M".to_owned(),
        format!("--innodb-flush-log-at-trx-commit={}", u8::from(options.durable)),
    ]);
    launch = launch.args(user());
    if options.row_binlog {
        launch = launch.args([
            format!("--log-bin={}", folder.join("data/binlog").display()),
            "--binlog-format=ROW".to_owned(),
            "--binlog-row-image=FULL".to_owned(),
            format!("--sync-binlog={}", u8::from(options.durable)),
            "--server-id=1".to_owned(),
        ]);
    } else if !is_mariadb(server) {
        launch = launch.arg("--skip-log-bin");
    }
    launch.args(options.arguments)
}

fn is_mariadb(server: &Path) -> bool {
    let version = std::process::Command::new(server).args(["--no-defaults", "--version"]).output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("MariaDB"))
}

/// The argument without which the servers refuse to run as root.
fn user() -> Option<&'static str> {
    rustix::process::getuid().is_root().then_some("--user=root")
}
