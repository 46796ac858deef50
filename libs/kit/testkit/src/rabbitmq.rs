//! A RabbitMQ server.

use std::fmt::{Debug, Display};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use url::Url;

use crate::server::{Private, START, Server, address, unique};
use crate::{Folder, Launch, Process, eventually_ok, free_port, programs};

const VARIABLE: &str = "TEST_AMQP_URL";
const PACKAGE: &str = "rabbitmq-server";

/// A private server, or the one that `TEST_AMQP_URL` names.
#[derive(Debug)]
pub struct RabbitMq {
    url: Url,
    private: Option<Private>,
    tools: Option<Tools>,
}

/// The other programs of a private server.
#[derive(Debug)]
struct Tools {
    ctl: Launch,
    /// A private instance of epmd, the registry of Erlang nodes. By default, all nodes of
    /// a machine share one.
    _epmd: Process,
}

impl RabbitMq {
    /// Returns the server that all tests of this binary share. Each test must keep to
    /// names with its own [`prefix`](Self::prefix).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RabbitMq> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match programs::variable(VARIABLE) {
                Some(url) => {
                    Self { url: Url::parse(&url).expect("TEST_AMQP_URL is a URL"), private: None, tools: None }
                }
                None => Self::start().await,
            })
            .await
    }

    /// Starts a server without plugins for one test.
    ///
    /// # Panics
    /// When no server is installed, or when it does not start.
    pub async fn start() -> Self {
        let server = script("rabbitmq-server");
        let epmd = programs::require(&["epmd"], PACKAGE, VARIABLE);
        let folder = Folder::new("rabbitmq");
        let (port, distribution, directory) = (free_port(), free_port(), free_port());
        let node = format!("testkit-{port}@localhost");
        let configuration = format!("listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users = none\n");
        std::fs::write(folder.path().join("rabbitmq.conf"), configuration).expect("cannot write a file");
        std::fs::write(folder.path().join("enabled_plugins"), "[].\n").expect("cannot write a file");
        let environment = |program: &Path| environment(program, folder.path(), &node, distribution, directory);

        let epmd = Launch::new(epmd).args(["-port".to_owned(), directory.to_string()]).args(["-address", "127.0.0.1"]);
        let launch = environment(&server).name("RabbitMQ");
        let tools = Tools { ctl: environment(&script("rabbitmqctl")).name("rabbitmqctl"), _epmd: epmd.spawn() };
        // If no epmd listens, the node starts one that does not end with the test.
        let epmd = SocketAddr::from(([127, 0, 0, 1], directory));
        eventually_ok(START, "Erlang's epmd to listen", async || TcpStream::connect(epmd).await).await;

        let url = Url::parse(&format!("amqp://guest:guest@127.0.0.1:{port}/%2f")).expect("a URL");
        let private = Private::new("RabbitMQ", folder, launch);
        let rabbit = Self { url, private: Some(private), tools: Some(tools) };
        rabbit.up().await;
        rabbit
    }

    /// The URL of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The address on which the server listens.
    ///
    /// # Panics
    /// When `TEST_AMQP_URL` contains a host name instead of an address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.url, 5672)
    }

    /// Returns a prefix for the names of queues and exchanges that no other test receives.
    #[must_use]
    pub fn prefix(&self, name: &str) -> String {
        unique(name, '-') + "."
    }

    /// Runs `rabbitmqctl` on a private server and returns the lines of its output.
    ///
    /// # Panics
    /// When the command fails.
    pub async fn ctl(&self, arguments: &[&str]) -> Vec<String> {
        let tools = self.tools.as_ref().expect("rabbitmqctl needs a private server: use RabbitMq::start");
        let ctl = tools.ctl.clone().args(["--quiet"]).args(arguments.iter().copied()).spawn();
        let status = ctl.wait(START).await;
        assert!(status.success(), "rabbitmqctl {arguments:?}: {status}{}", ctl.tail());
        ctl.output().await
    }
}

impl Server for RabbitMq {
    fn private(&self) -> &Private {
        self.private.as_ref().expect("faults need a private server: use RabbitMq::start")
    }

    /// Sends the AMQP protocol header and expects the first frame of a connection.
    async fn ping(&self) -> Result<(), impl Display + Debug> {
        let mut stream = TcpStream::connect(self.address()).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        let mut frame = [0; 11];
        stream.read_exact(&mut frame).await?;
        // The method frame of connection.start on channel 0.
        let is_start = frame[0] == 1 && frame[7..] == [0, 10, 0, 10];
        is_start.then_some(()).ok_or_else(|| io::Error::other(format!("RabbitMQ answered {frame:?}")))
    }
}

/// Finds a script of the broker. Debian's wrappers of the same name change the user.
fn script(name: &str) -> PathBuf {
    let own = Path::new("/usr/lib/rabbitmq/bin").join(name);
    if own.is_file() { own } else { programs::require(&[name], PACKAGE, VARIABLE) }
}

fn environment(program: &Path, folder: &Path, node: &str, distribution: u16, directory: u16) -> Launch {
    let in_folder = |name: &str| folder.join(name);
    Launch::new(program)
        .folder(folder)
        // The broker creates its Erlang cookie here, and rabbitmqctl reads it.
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", node)
        .env("RABBITMQ_CONF_ENV_FILE", in_folder("no-such-file"))
        .env("RABBITMQ_CONFIG_FILE", in_folder("rabbitmq"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", in_folder("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", in_folder("data"))
        .env("RABBITMQ_LOG_BASE", in_folder("log"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_PID_FILE", in_folder("pid"))
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("ERL_EPMD_PORT", directory.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // With this variable, the script replaces itself by the server.
        .env("RUNNING_UNDER_SYSTEMD", "1")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}")
}
