//! A Redis server.

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

/// A private server, or the one that `TEST_REDIS_URL` names.
#[derive(Debug)]
pub struct Redis {
    url: Url,
    private: Option<Private>,
}

impl Redis {
    /// Returns the server that all tests of this binary share. Each test must keep to
    /// keys with its own [`prefix`](Self::prefix).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match programs::variable(VARIABLE) {
                Some(url) => Self { url: Url::parse(&url).expect("TEST_REDIS_URL is a URL"), private: None },
                None => Self::start().await,
            })
            .await
    }

    /// Starts a server for one test. It flushes each write to disk before it acknowledges it.
    ///
    /// # Panics
    /// When no server is installed, or when it does not start.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with additional settings of `redis.conf`. The server must accept
    /// connections without a password, because testkit sends none.
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
        // The server uses the last value of a setting that is given twice.
        let launch = own.iter().chain(settings).fold(Launch::new(server).name("Redis"), |launch, (name, value)| {
            launch.arg(format!("--{name}")).args(value.split(' '))
        });
        let url = Url::parse(&format!("redis://127.0.0.1:{port}")).expect("a URL");
        let redis = Self { url, private: Some(Private::new("Redis", folder, launch)) };
        redis.up().await;
        redis
    }

    /// The URL of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The address on which the server listens.
    ///
    /// # Panics
    /// When `TEST_REDIS_URL` contains a host name instead of an address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.url, 6379)
    }

    /// The data folder of a private server.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.private().folder().path()
    }

    /// Returns a prefix for keys that no other test receives.
    #[must_use]
    pub fn prefix(&self, name: &str) -> String {
        unique(name, '-') + ":"
    }

    /// Runs a command on a server without a password. Returns the text of a bulk string,
    /// or else the first line of the reply.
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
        self.private.as_ref().expect("faults need a private server: use Redis::start")
    }

    async fn ping(&self) -> Result<(), impl Display + Debug> {
        self.command(&["PING"]).await.map(drop)
    }
}
