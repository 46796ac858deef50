//! Redis.

use std::fmt::{Debug, Display, Write};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use url::Url;

use crate::server::{Private, Server, address, unique};
use crate::{Folder, Launch, free_port, programs};

const VARIABLE: &str = "TEST_REDIS_URL";

/// A server: a private one, or the one that `TEST_REDIS_URL` names.
#[derive(Debug)]
pub struct Redis {
    url: Url,
    private: Option<Private>,
}

impl Redis {
    /// The server that the tests of this binary share; keep to keys that begin
    /// with a [`prefix`](Self::prefix) of it, and do no harm to the others.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match programs::variable(VARIABLE) {
                Some(url) => Self { url: Url::parse(&url).expect("TEST_REDIS_URL is a URL"), private: None },
                None => Self::start().await,
            })
            .await
    }

    /// A server for one test alone. What it acknowledged is on disk.
    ///
    /// # Panics
    /// When no server is installed, or it does not start.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with settings of `redis.conf` changed or added. Connections without
    /// a password must still be let in: testkit has none.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let server = programs::require(&["redis-server", "valkey-server"], "redis-server", VARIABLE);
        let folder = Folder::new("redis");
        let port = free_port();
        let own = [
            ("port", &*port.to_string()),
            ("bind", "127.0.0.1"),
            ("dir", &folder.path().display().to_string()),
            ("save", ""),
            ("appendonly", "yes"),
            ("appendfsync", "always"),
        ];
        // Of a setting that is there twice, the second one counts.
        let launch = own.iter().chain(settings).fold(Launch::new(server).name("Redis"), |launch, (name, value)| {
            launch.arg(format!("--{name}")).args(value.split(' '))
        });
        let url = Url::parse(&format!("redis://127.0.0.1:{port}")).expect("a URL");
        let redis = Self { url, private: Some(Private::new("Redis", folder, launch)) };
        redis.up().await;
        redis
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Where the server listens.
    ///
    /// # Panics
    /// When it is not a private one and its URL has a name in place of an address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.url, 6379)
    }

    /// The folder with the data of a private server.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.private().folder().path()
    }

    /// A beginning for the names of keys that no other test has been given.
    #[must_use]
    pub fn prefix(&self, name: &str) -> String {
        unique(name, '-') + ":"
    }

    /// Runs a command on a private server, or one without a password, and returns
    /// the first line of its answer, or the text if it is a bulk string.
    pub async fn command(&self, words: &[&str]) -> io::Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await?);
        stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end();
        if let Some(Ok(length)) = line.strip_prefix('$').map(str::parse::<usize>) {
            let mut text = vec![0; length];
            stream.read_exact(&mut text).await?;
            return String::from_utf8(text).map_err(io::Error::other);
        }
        if line.is_empty() || line.starts_with('-') {
            return Err(io::Error::other(format!("Redis answered {line:?}")));
        }
        Ok(line.to_owned())
    }
}

impl Server for Redis {
    fn private(&self) -> &Private {
        self.private.as_ref().expect("faults are for a private server: Redis::start")
    }

    async fn ping(&self) -> Result<(), impl Display + Debug> {
        self.command(&["PING"]).await.map(drop)
    }
}
