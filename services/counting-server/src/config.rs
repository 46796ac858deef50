//! Configuration.

use clap::Args;
use kit_web::http::Limits;

/// The configuration of counting-server.
#[derive(Debug, Clone, Args)]
#[group(id = "counting-server")]
pub struct Config {
    /// Limits of the listener.
    #[command(flatten)]
    pub limits: Limits,

    /// Origins of pages on other sites that may connect by Socket.IO and read the API, such as
    /// `https://example.com`, separated by commas; `*` allows all.
    #[arg(long, env = "CORS_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<String>,
}

fn origin(text: &str) -> Result<String, String> {
    let is_origin = || {
        let url = url::Url::parse(text).ok()?;
        (url.origin().is_tuple() && url.origin().ascii_serialization() == text).then_some(())
    };
    if text == "*" || is_origin().is_some() {
        Ok(text.to_owned())
    } else {
        Err("expected an origin, such as https://example.com or http://localhost:3000, or *".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for text in ["*", "https://example.com", "http://localhost:3000"] {
            assert!(origin(text).is_ok(), "{text}");
        }
        for text in ["", "example.com", "https://example.com/", "https://example.com/a", "https://example.com:443"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
