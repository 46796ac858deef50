//! Command-line arguments for the broker.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::{InvalidUrl, RabbitMqOptions, RabbitMqQueue};

/// The broker to use.
#[derive(Debug, Clone, Args)]
pub struct AmqpArgs {
    /// URL of RabbitMQ: `amqp://user:password@host:port/vhost`, or `amqps://` with TLS and,
    /// for certificates that are not public, `?cacertfile=path`.
    #[arg(id = "amqp_url", long = "amqp-url", env = "AMQP_URL", hide_env_values = true, value_parser = checked)]
    url: SecretString,
}

impl AmqpArgs {
    /// Takes the URL from the program in place of the command line.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        checked(url).map(|url| Self { url })
    }

    /// Opens the queue. The broker may still be away. Must be called within a tokio runtime.
    pub fn open(&self, options: RabbitMqOptions) -> Result<RabbitMqQueue, InvalidUrl> {
        RabbitMqQueue::open(self.url.expose_secret(), options)
    }
}

fn checked(url: &str) -> Result<SecretString, InvalidUrl> {
    crate::rabbitmq::check(url)?;
    Ok(SecretString::from(url))
}
