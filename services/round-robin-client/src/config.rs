//! Configuration.

use std::str::FromStr;

use clap::Args;
use kit_process::HumanDuration;
use round_robin_core::types::{ClientId, MAX_COUNTER};
use round_robin_session::MAX_MESSAGE_BYTES;
use url::Url;

/// The configuration of round-robin-client.
#[derive(Debug, Clone, Args)]
#[group(id = "round-robin-client")]
pub struct Config {
    /// Address of the server: `http://`, `https://`, `ws://` or `wss://`, a host and a port.
    #[arg(long, env = "SERVER_URL", default_value = "http://localhost:8002", value_parser = server_url)]
    pub server_url: Url,

    /// Name of the client, under which it continues after a restart; the name of the host by default.
    /// If two clients have one name, the newer one takes over, and the older one ends.
    #[arg(long, env = "CLIENT_ID", default_value = host_name(), hide_default_value = true, value_parser = client_id)]
    pub client_id: ClientId,

    /// Pause between two messages. 0 sends as fast as the server serves, and logs a summary every
    /// second.
    #[arg(long, env = "INTERVAL", default_value = "1s")]
    pub interval: HumanDuration,

    /// Text of the messages. `{counter}` and `{client_id}` are replaced.
    #[arg(long, env = "MESSAGE", default_value = "message {counter}")]
    pub message: Template,
}

/// The text of messages, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// The text of one message.
    #[must_use]
    pub fn render(&self, client_id: &ClientId, counter: i64) -> String {
        self.0.replace("{client_id}", client_id.as_str()).replace("{counter}", &counter.to_string())
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let template = Self(text.to_owned());
        let longest =
            ClientId::try_from("\u{10ffff}".repeat(ClientId::MAX_LENGTH)).map_err(|error| error.to_string())?;
        if template.render(&longest, MAX_COUNTER).len() > MAX_MESSAGE_BYTES {
            return Err(format!("a message has at most {MAX_MESSAGE_BYTES} bytes"));
        }
        Ok(template)
    }
}

fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    round_robin_session::check_address(&url).map_err(|error| error.to_string())?;
    Ok(url)
}

fn client_id(text: &str) -> Result<ClientId, String> {
    ClientId::try_from(text.to_owned()).map_err(|error| error.to_string())
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().take(ClientId::MAX_LENGTH).collect();
    if name.is_empty() { "round-robin-client".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced() {
        let client = ClientId::try_from("ada".to_owned()).expect("a name");
        let template: Template = "{client_id} says {counter} of {counter}, {other}".parse().expect("a template");
        assert_eq!(template.render(&client, 7), "ada says 7 of 7, {other}");
    }

    #[test]
    fn a_template_whose_messages_are_too_long_is_refused() {
        assert!("x".repeat(MAX_MESSAGE_BYTES).parse::<Template>().is_ok());
        assert!("x".repeat(MAX_MESSAGE_BYTES + 1).parse::<Template>().is_err());
        assert!("{client_id}".repeat(300).parse::<Template>().is_err());
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused() {
        assert!(server_url("https://example.com/path").is_ok());
        for text in ["localhost", "ftp://example.com", "/path"] {
            assert!(server_url(text).is_err(), "{text}");
        }
    }
}
