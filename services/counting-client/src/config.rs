//! Configuration.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use counting_core::Role;
use counting_socket_io::Address;
use kit_process::HumanDuration;
use url::Url;

/// The configuration of counting-client.
#[derive(Debug, Clone, Args)]
#[group(id = "counting-client")]
pub struct Config {
    /// Address of the server: `http://`, `https://`, `ws://` or `wss://`, a host and a port.
    #[arg(long, env = "SERVER_URL", default_value = "http://localhost:5000", value_parser = server_url)]
    pub server_url: Url,

    /// Pause between two numbers. 0 sends as fast as the server acknowledges, and logs a summary
    /// every second.
    #[arg(id = "number_interval", long = "interval", env = "INTERVAL", value_name = "INTERVAL", default_value = "1s")]
    pub interval: HumanDuration,

    /// The number up to which the two clients count. Without it, they count until they are stopped.
    #[arg(long, env = "UNTIL", value_parser = clap::value_parser!(u64).range(1..))]
    pub until: Option<u64>,

    /// The role for which the client waits: client1 counts the odd numbers, client2 the even ones.
    /// Without it, the client takes the role that it is given.
    #[arg(long, env = "ROLE", value_parser = role_parser())]
    pub role: Option<Role>,
}

fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    Address::of(&url).map_err(|error| error.to_string())?;
    Ok(url)
}

fn role_parser() -> impl TypedValueParser<Value = Role> {
    let names = PossibleValuesParser::new(Role::ALL.map(Role::name));
    names.try_map(|name| Role::named(&name).ok_or("no role has this name"))
}
