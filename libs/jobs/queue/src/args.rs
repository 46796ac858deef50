//! Command-line arguments for the broker.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::rabbitmq::Address;
use crate::{InvalidUrl, RabbitMqOptions, RabbitMqQueue};

/// The broker to use.
#[derive(Debug, Clone, Args)]
pub struct AmqpArgs {
    /// URL of RabbitMQ: `amqp://user:password@host:port/vhost`, or `amqps://` with TLS and,
    /// for certificates that are not public, `?cacertfile=path`.
    #[arg(id = "amqp_url", long = "amqp-url", env = "AMQP_URL", hide_env_values = true, value_parser = checked)]
    url: SecretString,

    /// User of RabbitMQ. Replaces the user of the URL; without percent-encoding.
    #[arg(id = "amqp_user", long = "amqp-user", value_name = "USER", env = "AMQP_USER")]
    user: Option<String>,

    /// Password of RabbitMQ. Replaces the password of the URL; without percent-encoding.
    #[arg(
        id = "amqp_password",
        long = "amqp-password",
        value_name = "PASSWORD",
        env = "AMQP_PASSWORD",
        hide_env_values = true
    )]
    password: Option<SecretString>,
}

impl AmqpArgs {
    /// Takes the URL from the program in place of the command line.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        checked(url).map(|url| Self { url, user: None, password: None })
    }

    /// Opens the queue. The broker may still be away. Must be called within a tokio runtime.
    pub fn open(&self, options: RabbitMqOptions) -> Result<RabbitMqQueue, InvalidUrl> {
        Ok(RabbitMqQueue::open_address(&self.address()?, options))
    }

    fn address(&self) -> Result<Address, InvalidUrl> {
        let user = self.user.as_deref().filter(|user| !user.is_empty());
        // A Kubernetes Secret made from a file often ends with a newline. URLs ignore it.
        let password = self.password.as_ref().map(|password| password.expose_secret().trim_end_matches(['\r', '\n']));
        let password = password.filter(|password| !password.is_empty());
        Ok(Address::parse(self.url.expose_secret())?.with_credentials(user, password))
    }
}

fn checked(url: &str) -> Result<SecretString, InvalidUrl> {
    Address::parse(url)?;
    Ok(SecretString::from(url))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Example {
        #[command(flatten)]
        amqp: AmqpArgs,
    }

    fn user_and_password(flags: &[&str]) -> (String, String) {
        let flags = std::iter::once("example").chain(flags.iter().copied());
        let user = Example::try_parse_from(flags).unwrap().amqp.address().unwrap().uri.authority.userinfo;
        (user.username, user.password)
    }

    #[test]
    fn user_and_password_replace_those_of_the_url() {
        let is = |flags: &[&str], user: &str, password: &str| {
            assert_eq!(user_and_password(flags), (user.to_owned(), password.to_owned()));
        };
        let (plain, full) = ("--amqp-url=amqp://broker/%2f", "--amqp-url=amqp://them:secret@broker");
        is(&[plain, "--amqp-user=me", "--amqp-password=a+/=@:%41 #?"], "me", "a+/=@:%41 #?");
        is(&[full, "--amqp-user=me"], "me", "secret");
        is(&[full, "--amqp-password=x\n"], "them", "x");
        is(&[full, "--amqp-user=", "--amqp-password="], "them", "secret");
        is(&[full], "them", "secret");
    }

    #[test]
    fn passwords_do_not_show() {
        let flags = ["example", "--amqp-url=amqp://them:hush@broker", "--amqp-password=hush"];
        assert!(!format!("{:?}", Example::try_parse_from(flags).unwrap()).contains("hush"));
    }
}
