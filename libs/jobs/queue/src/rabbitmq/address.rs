//! The address of the broker, from its URL.

use std::borrow::Cow;
use std::fmt;

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use url::{Host, Url};

use super::tls::Tls;

/// Address, credentials and TLS settings of the broker.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) uri: AMQPUri,
    pub(crate) tls: Option<Tls>,
}

/// Why a URL is not valid. The URL itself is left out, since it may contain a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidUrl {
    /// The scheme is not `amqp` or `amqps`.
    #[error("expected amqp://user:password@host:port/vhost, or amqps:// with TLS")]
    Scheme,
    /// The URL has a syntax error, or a part that is missing or not valid.
    #[error("not a valid amqp URL: {0}")]
    Malformed(&'static str),
    /// The URL has an unknown query parameter.
    #[error("the only parameter that an amqp URL may have is cacertfile, not {0}")]
    Parameter(String),
    /// The certificates in `cacertfile` cannot be used.
    #[error("cannot use the certificates in {path}: {reason}")]
    Certificates {
        /// Path of the file.
        path: String,
        /// Why its certificates cannot be used.
        reason: String,
    },
}

impl Address {
    /// Parses a URL. The path is the virtual host, percent-encoded; the default is `/`. User
    /// and password default to `guest`. `cacertfile` names a file with the certificates to
    /// trust in place of the public ones.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let scheme = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("amqp") => AMQPScheme::AMQP,
            Some("amqps") => AMQPScheme::AMQPS,
            _ => return Err(InvalidUrl::Scheme),
        };
        let url = Url::parse(url).map_err(|_| InvalidUrl::Malformed("it is not a URL"))?;
        let host = match url.host() {
            // The parser does not recognise IPv4 addresses in URLs of this scheme.
            Some(Host::Domain(name)) if !name.is_empty() => decoded(name)?,
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err(InvalidUrl::Malformed("it has no host")),
        };
        let tls = match (&scheme, ca_file(&url)?) {
            (AMQPScheme::AMQPS, file) => Some(Tls::new(&host, file.as_deref())?),
            (AMQPScheme::AMQP, None) => None,
            (AMQPScheme::AMQP, Some(_)) => return Err(InvalidUrl::Malformed("cacertfile is for amqps://")),
        };
        let name_or = |text: &str, default: &str| if text.is_empty() { Ok(default.to_owned()) } else { decoded(text) };
        let userinfo = AMQPUserInfo {
            username: name_or(url.username(), "guest")?,
            password: url.password().map_or_else(|| Ok("guest".to_owned()), decoded)?,
        };
        let port = url.port().unwrap_or_else(|| scheme.default_port());
        let vhost = name_or(url.path().trim_start_matches('/'), "/")?;
        let authority = AMQPAuthority { userinfo, host, port };
        Ok(Self { uri: AMQPUri { scheme, authority, vhost, query: AMQPQueryString::default() }, tls })
    }

    /// Replaces the user, the password or both.
    pub(crate) fn with_credentials(mut self, user: Option<&str>, password: Option<&str>) -> Self {
        let credentials = &mut self.uri.authority.userinfo;
        if let Some(user) = user {
            user.clone_into(&mut credentials.username);
        }
        if let Some(password) = password {
            password.clone_into(&mut credentials.password);
        }
        self
    }
}

/// Without user and password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        write!(f, "{scheme}://{}:{}/{vhost}", authority.host, authority.port)
    }
}

fn decoded(text: &str) -> Result<String, InvalidUrl> {
    // Percent-encoding in a URL equals that of a form, except for the plus.
    let form = format!("x={}", text.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, text)| text).unwrap_or_default();
    match decoded {
        text if text.contains('\u{fffd}') => Err(InvalidUrl::Malformed("a part of it is not UTF-8")),
        // The limit of a short string of AMQP.
        text if text.len() > 255 => Err(InvalidUrl::Malformed("a part of it is longer than 255 bytes")),
        text => Ok(text.into_owned()),
    }
}

fn ca_file(url: &Url) -> Result<Option<String>, InvalidUrl> {
    let mut file = None;
    for (name, value) in url.query_pairs() {
        match name {
            Cow::Borrowed("cacertfile") => file = Some(value.into_owned()),
            name => return Err(InvalidUrl::Parameter(name.into_owned())),
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (String, String, String, u16, String) {
        let AMQPUri { authority: AMQPAuthority { userinfo, host, port }, vhost, .. } = Address::parse(url).unwrap().uri;
        (userinfo.username, userinfo.password, host, port, vhost)
    }

    fn expected(
        user: &str,
        password: &str,
        host: &str,
        port: u16,
        vhost: &str,
    ) -> (String, String, String, u16, String) {
        (user.to_owned(), password.to_owned(), host.to_owned(), port, vhost.to_owned())
    }

    #[test]
    fn urls_as_people_write_them() {
        assert_eq!(parts("amqp://broker"), expected("guest", "guest", "broker", 5672, "/"));
        assert_eq!(parts("amqp://broker/"), expected("guest", "guest", "broker", 5672, "/"));
        assert_eq!(parts("amqp://u:p@127.0.0.1:99/%2f"), expected("u", "p", "127.0.0.1", 99, "/"));
        assert_eq!(parts("amqps://a%40b:x@[::1]/jobs").0, "a@b");
        let (_, password, host, port, vhost) = parts("amqps://u:%2B%25+c@[::1]/jobs%20here");
        assert_eq!((password.as_str(), host.as_str(), port, vhost.as_str()), ("+%+c", "::1", 5671, "jobs here"));
        assert!(Address::parse("amqps://broker").unwrap().tls.is_some());
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_repeating_it() {
        for url in [
            "",
            "broker",
            "http://broker",
            "amqp:broker",
            "amqp:///jobs",
            "amqp://u:secret@",
            "amqp://u:secret@broker:99999",
            "amqp://u:secret@broker/%ff",
            "amqp://u:secret@broker?heartbeat=1",
            "amqp://u:secret@broker?cacertfile=/dev/null",
            "amqps://u:secret@broker?cacertfile=/dev/null",
            "amqps://u:secret@broker?cacertfile=/does/not/exist",
        ] {
            let error = Address::parse(url).map(drop).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn passwords_do_not_show() {
        let address = Address::parse("amqp://user:secret@broker/jobs").unwrap();
        assert_eq!(format!("{address:?}"), "amqp://broker:5672/jobs");
    }
}
