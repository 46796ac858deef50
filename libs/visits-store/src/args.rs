//! The configuration of Redis.

use clap::Args;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};

use crate::{DEFAULT_KEY, RedisStore};

/// Which Redis to use: `REDIS_URL`, or else its parts.
#[derive(Debug, Clone, Args)]
pub struct RedisArgs {
    /// Where Redis is: `redis://user:password@host:port/db`, or `rediss://…` for TLS. If it
    /// is set, `REDIS_HOST`, `REDIS_PORT`, `REDIS_DB`, `REDIS_USERNAME` and `REDIS_PASSWORD` are not used.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_parser = checked)]
    redis_url: Option<SecretString>,

    /// The host of Redis.
    #[arg(long, env = "REDIS_HOST", default_value = "localhost", value_parser = host)]
    redis_host: String,

    /// The port of Redis, 1 to 65535. Kubernetes sets this to `tcp://address:port`
    /// by itself beside a Service named redis; that is understood, too.
    #[arg(long, env = "REDIS_PORT", default_value = "6379", value_parser = port)]
    redis_port: u16,

    /// The number of the database, from 0.
    #[arg(long, env = "REDIS_DB", default_value = "0", value_parser = clap::value_parser!(i64).range(0..))]
    redis_db: i64,

    /// The user; Redis's default user unless set.
    #[arg(long, env = "REDIS_USERNAME")]
    redis_username: Option<String>,

    /// The password; none unless set.
    #[arg(long, env = "REDIS_PASSWORD", hide_env_values = true)]
    redis_password: Option<SecretString>,

    /// The certificate, in PEM, of the authority that Redis's own is signed by, for
    /// rediss://; the system's authorities unless set. `REDIS_CA_FILE` names a file.
    #[arg(long, env = "REDIS_CA")]
    redis_ca: Option<String>,

    /// The key of the counter.
    #[arg(long, env = "COUNTER_KEY", default_value = DEFAULT_KEY, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    counter_key: String,
}

/// Settings that are well formed each, and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct InvalidRedis {
    /// The variable to change.
    pub variable: &'static str,
    /// What is wrong with it, without its value.
    pub reason: String,
}

impl RedisArgs {
    /// A counter, without connecting.
    pub fn open(&self) -> Result<RedisStore, InvalidRedis> {
        let client = match &self.redis_ca {
            Some(authority) => self.with_authority(authority)?,
            None => Client::open(self.server()).map_err(|error| invalid("REDIS_URL", error))?,
        };
        Ok(RedisStore::new(client, self.counter_key.clone()))
    }

    fn with_authority(&self, authority: &str) -> Result<Client, InvalidRedis> {
        let server = self.server();
        if !matches!(server.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(invalid("REDIS_CA", "has no use without a REDIS_URL that begins with rediss://"));
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(authority.as_bytes().to_vec()) };
        Client::build_with_tls(server, certificates).map_err(|error| invalid("REDIS_CA", error))
    }

    fn server(&self) -> ConnectionInfo {
        let from_url = self.redis_url.as_ref().and_then(|url| url.expose_secret().into_connection_info().ok());
        from_url.unwrap_or_else(|| self.from_parts())
    }

    fn from_parts(&self) -> ConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_db(self.redis_db);
        if let Some(username) = &self.redis_username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.redis_password {
            settings = settings.set_password(password.expose_secret());
        }
        let address = ConnectionAddr::Tcp(self.redis_host.clone(), self.redis_port);
        ConnectionInfo::from(address).set_redis_settings(settings)
    }
}

fn invalid(variable: &'static str, reason: impl ToString) -> InvalidRedis {
    InvalidRedis { variable, reason: reason.to_string() }
}

fn checked(url: &str) -> Result<SecretString, String> {
    if url.contains('#') {
        return Err("there is nothing after #; for a private authority, set REDIS_CA".to_owned());
    }
    let server = url.into_connection_info().map_err(|error| error.to_string())?;
    if server.redis_settings().db() < 0 {
        return Err("the number of the database is from 0".to_owned());
    }
    Ok(SecretString::from(url))
}

fn host(host: &str) -> Result<String, String> {
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        return Err("expected a name or an address, without port".to_owned());
    }
    Ok(host.to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    let number = text.strip_prefix("tcp://").and_then(|address| Some(address.rsplit_once(':')?.1)).unwrap_or(text);
    number.parse().ok().filter(|port| *port > 0).ok_or_else(|| "expected 1 to 65535".to_owned())
}
