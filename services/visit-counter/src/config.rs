//! Settings.

use std::net::SocketAddr;

use clap::Args;
use kit_process::config::{Invalid, invalid};
use kit_web::http::Limits;

/// The settings of visit-counter.
#[derive(Debug, Clone, Args)]
// Named, since one process may flatten the settings of several services.
#[group(id = "visit-counter")]
pub struct Config {
    /// Limits of the listener.
    #[command(flatten)]
    pub limits: Limits,

    /// Name of the environment that the page greets from.
    #[arg(long, env = "ENVIRONMENT", default_value = "local", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub environment: String,

    /// Path prefix, such as /counter, of a proxy that does not strip it. Every route is also
    /// served below it.
    #[arg(long, env = "PATH_PREFIX", default_value = "", value_parser = prefix)]
    pub path_prefix: String,
}

impl Config {
    /// The limits of the listener. A visit waits for at most one round trip, so noticing
    /// a disconnected visitor saves nothing, and would cost a read buffer for each visit.
    pub(crate) fn limits(&self) -> Limits {
        Limits { notice_disconnects: false, ..self.limits }
    }
}

/// The address of the page and the API.
#[derive(Debug, Clone, Args)]
pub struct Listen {
    /// Address of the page and the API, such as 0.0.0.0:8000; `HOST` and `PORT` unless set.
    #[arg(long = "listen", env = "LISTEN")]
    address: Option<SocketAddr>,

    /// Address or host name to listen on.
    #[arg(long, env = "HOST", default_value = "0.0.0.0")]
    host: String,

    /// Port to listen on.
    #[arg(long, env = "PORT", default_value = "8000")]
    port: u16,
}

impl Listen {
    /// The address to listen on. Resolves a host name.
    pub async fn address(&self) -> Result<SocketAddr, Invalid> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let mut found = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| invalid("HOST", format!("{:?} is not valid: {error}", self.host)))?;
        found.next().ok_or_else(|| invalid("HOST", format!("{:?} has no address", self.host)))
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    let is_path = path.is_empty() || (path.starts_with('/') && !path.contains("//"));
    if is_path && path.chars().all(is_plain) {
        return Ok(path.to_owned());
    }
    Err("expected a path such as /counter, of letters, digits and -_.~".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(listen: Option<&str>, host: &str, port: u16) -> Listen {
        Listen { address: listen.map(|address| address.parse().unwrap()), host: host.to_owned(), port }
    }

    #[tokio::test]
    async fn an_address_is_one_or_a_host_and_a_port() {
        let address = async |it: Listen| it.address().await.map(|address| address.to_string());
        assert_eq!(address(listen(None, "0.0.0.0", 8000)).await.unwrap(), "0.0.0.0:8000");
        assert_eq!(address(listen(None, "::", 8000)).await.unwrap(), "[::]:8000");
        assert_eq!(address(listen(Some("127.0.0.1:1"), "0.0.0.0", 8000)).await.unwrap(), "127.0.0.1:1");
        assert!(address(listen(None, "localhost", 8000)).await.unwrap().ends_with(":8000"));
        for host in ["", "no such host", "http://localhost"] {
            let error = address(listen(None, host, 8000)).await.unwrap_err().to_string();
            assert!(error.starts_with("HOST: "), "{error}");
        }
    }

    #[test]
    fn a_prefix_is_a_path() {
        for (text, path) in [("", ""), ("/", ""), ("/counter", "/counter"), ("/a/b-c/", "/a/b-c")] {
            assert_eq!(prefix(text).unwrap(), path);
        }
        for text in ["counter", "/a//b", "/{x}", "/a b", "/ü", "//host", "https://host/"] {
            prefix(text).expect_err(text);
        }
    }
}
