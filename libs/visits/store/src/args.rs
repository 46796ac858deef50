//! Command-line arguments for Redis.

use clap::Args;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};

use crate::{DEFAULT_KEY, RedisStore};

/// Which Redis to use: `REDIS_URL`, or else its parts.
#[derive(Debug, Clone, Args)]
pub struct RedisArgs {
    /// Where Redis is: `redis://user:password@host:port/db`, or `rediss://…` for TLS. If it
    /// is set, `REDIS_HOST`, `REDIS_PORT` and `REDIS_DB` are not used.
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

    /// The user, unless `REDIS_URL` names one; Redis's default user otherwise.
    #[arg(long, env = "REDIS_USERNAME")]
    redis_username: Option<String>,

    /// The password, unless `REDIS_URL` holds one: here nothing has to be percent-encoded.
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

/// Arguments that are well-formed by themselves but cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct InvalidRedis {
    /// The variable to change.
    pub variable: &'static str,
    /// The reason, without the value, which may be secret.
    pub reason: String,
}

impl RedisArgs {
    /// Prepares a counter. The first operation connects.
    pub fn open(&self) -> Result<RedisStore, InvalidRedis> {
        let client = match self.redis_ca.as_deref().filter(|authority| !authority.is_empty()) {
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
        // Without a certificate, every connection would fail later.
        if !authority.contains("-----BEGIN CERTIFICATE-----") {
            return Err(invalid("REDIS_CA", "holds no certificate in PEM"));
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(authority.as_bytes().to_vec()) };
        Client::build_with_tls(server, certificates).map_err(|error| invalid("REDIS_CA", error))
    }

    fn server(&self) -> ConnectionInfo {
        let from_url = text(self.redis_url.as_ref()).and_then(|url| url.into_connection_info().ok());
        let server = from_url.unwrap_or_else(|| self.at_host_and_port());
        let settings = self.with_credentials(server.redis_settings().clone());
        server.set_redis_settings(settings)
    }

    fn at_host_and_port(&self) -> ConnectionInfo {
        let parts = ConnectionAddr::Tcp(self.redis_host.clone(), self.redis_port).into_connection_info();
        let server = parts.expect("a host and a port need no parsing");
        server.set_redis_settings(RedisConnectionInfo::default().set_db(self.redis_db))
    }

    fn with_credentials(&self, mut settings: RedisConnectionInfo) -> RedisConnectionInfo {
        if let Some(username) = self.redis_username.as_deref().filter(|name| !name.is_empty())
            && settings.username().is_none()
        {
            settings = settings.set_username(username);
        }
        if let Some(password) = text(self.redis_password.as_ref())
            && settings.password().is_none()
        {
            settings = settings.set_password(password);
        }
        settings
    }
}

/// An empty variable counts as not set: compose files set such variables.
fn text(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret).filter(|text| !text.is_empty())
}

fn invalid(variable: &'static str, reason: impl std::fmt::Display) -> InvalidRedis {
    InvalidRedis { variable, reason: reason.to_string() }
}

fn checked(url: &str) -> Result<SecretString, String> {
    if url.is_empty() {
        return Ok(SecretString::from(url));
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Example {
        #[command(flatten)]
        redis: RedisArgs,
    }

    fn parse(flags: &[&str]) -> Result<RedisArgs, String> {
        let flags = std::iter::once("example").chain(flags.iter().copied());
        Example::try_parse_from(flags).map(|example| example.redis).map_err(|error| error.to_string())
    }

    /// Address, database, user and password; `-` for an absent value.
    fn server(flags: &[&str]) -> String {
        let server = parse(flags).unwrap().server();
        let settings = server.redis_settings();
        let (user, password) = (settings.username().unwrap_or("-"), settings.password().unwrap_or("-"));
        format!("{} {} {user} {password}", server.addr(), settings.db())
    }

    #[test]
    fn a_server_is_named_by_its_parts_or_by_a_url() {
        assert_eq!(server(&[]), "localhost:6379 0 - -");
        let parts = ["--redis-host=redis", "--redis-port=6380", "--redis-db=3", "--redis-password=p@ss"];
        assert_eq!(server(&parts), "redis:6380 3 - p@ss");
        let url = "--redis-url=rediss://me:p%40ss@example.org:6390/2";
        assert_eq!(server(&[url, "--redis-host=other"]), "example.org:6390 2 me p@ss");
    }

    #[test]
    fn a_url_without_credentials_is_completed() {
        let flags = ["--redis-url=redis://redis/1", "--redis-username=me", "--redis-password=a:b@c/d"];
        assert_eq!(server(&flags), "redis:6379 1 me a:b@c/d");
        let flags = ["--redis-url=redis://:one@redis/1", "--redis-password=other"];
        assert_eq!(server(&flags), "redis:6379 1 - one");
    }

    #[test]
    fn what_is_empty_is_not_set() {
        let flags = ["--redis-url=", "--redis-username=", "--redis-password=", "--redis-ca="];
        assert_eq!(server(&flags), "localhost:6379 0 - -");
        parse(&flags).unwrap().open().unwrap();
    }

    #[test]
    fn the_port_that_kubernetes_makes_of_a_service_is_understood() {
        assert_eq!(server(&["--redis-port=tcp://10.96.7.1:6380"]), "localhost:6380 0 - -");
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_secrets_are_not_repeated() {
        for flag in [
            "--redis-url=http://redis",
            "--redis-url=redis://:hush@redis:port/0",
            "--redis-url=redis://:hush@redis/first",
            "--redis-url=redis://:hush@redis/-1",
            "--redis-url=rediss://:hush@redis/#insecure",
            "--redis-host=",
            "--redis-host=redis://redis",
            "--redis-port=0",
            "--redis-port=65536",
            "--redis-port=tcp://10.96.7.1",
            "--redis-db=-1",
            "--redis-db=one",
            "--counter-key=",
        ] {
            let error = parse(&[flag]).expect_err(flag);
            let reason = error.rsplit("': ").next().unwrap_or_default();
            assert!(!reason.contains("hush"), "{error}");
        }
        let secrets = parse(&["--redis-url=redis://:hush@redis", "--redis-password=hush"]).unwrap();
        assert!(!format!("{secrets:?} {:?}", secrets.open().unwrap()).contains("hush"));
    }

    #[test]
    fn an_authority_is_for_tls_and_has_to_be_one() {
        let error = parse(&["--redis-ca=x"]).unwrap().open().unwrap_err();
        assert_eq!(error.variable, "REDIS_CA");
        let error = parse(&["--redis-url=rediss://redis", "--redis-ca=not a certificate"]).unwrap().open().unwrap_err();
        assert_eq!(error.variable, "REDIS_CA");
    }
}
