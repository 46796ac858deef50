//! The configuration of a broker.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::{InvalidUrl, RabbitMq, RabbitMqOptions};

/// Which broker to use.
#[derive(Debug, Clone, Args)]
pub struct AmqpArgs {
    /// Where RabbitMQ is: `amqp://user:password@host:port/vhost`, or `amqps://` with TLS and,
    /// for certificates that are not public, `?cacertfile=path`.
    #[arg(id = "amqp_url", long = "amqp-url", env = "AMQP_URL", hide_env_values = true, value_parser = checked)]
    url: SecretString,
}

impl AmqpArgs {
    /// A broker by its URL, without command-line arguments.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        checked(url).map(|url| Self { url })
    }

    /// Begins to use the broker, which need not be there yet. To be called within a
    /// runtime of tokio.
    pub fn open(&self, options: RabbitMqOptions) -> Result<RabbitMq, InvalidUrl> {
        RabbitMq::open(self.url.expose_secret(), options)
    }
}

fn checked(url: &str) -> Result<SecretString, InvalidUrl> {
    crate::rabbitmq::check(url)?;
    Ok(SecretString::from(url))
}
