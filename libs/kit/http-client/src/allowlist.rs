//! The hosts that the client may call.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// The hosts that the client may call.
///
/// The text form is a comma-separated list such as
/// `example.com,*.example.org,10.0.0.7:8080`. An entry is a name, a wildcard for all
/// names below a domain, or an IP address, each optionally with a port; without one,
/// all ports are allowed. An empty list allows no host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowlist(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// A name or an IP address in its canonical form. A leading dot stands for all names
    /// below the domain.
    host: String,
    /// The only port that is allowed.
    port: Option<u16>,
}

/// An entry of an [`Allowlist`] that is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host, such as example.com, *.example.com or 10.0.0.7:8080")]
pub struct InvalidEntry(String);

/// Why an [`Allowlist`] refuses a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The scheme is neither `http` nor `https`, or the URL contains a user or a password.
    #[error("only http and https URLs without user and password can be called")]
    UnsupportedUrl,
    /// The host is not on the list, which every service takes from `ALLOWED_HOSTS`.
    #[error("the host {0} is not in ALLOWED_HOSTS")]
    HostNotAllowed(String),
}

impl Allowlist {
    /// Checks the scheme, host and port of `url`. Does not resolve names.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        let has_user = !url.username().is_empty() || url.password().is_some();
        let host = url.host_str().ok_or(Refused::UnsupportedUrl)?.trim_end_matches('.');
        if !matches!(url.scheme(), "http" | "https") || has_user {
            return Err(Refused::UnsupportedUrl);
        }
        let port = url.port_or_known_default();
        let permits = |entry: &Entry| entry.is_host(host) && entry.port.is_none_or(|of| Some(of) == port);
        if self.0.iter().any(permits) { Ok(()) } else { Err(Refused::HostNotAllowed(host.to_owned())) }
    }
}

impl Entry {
    fn is_host(&self, host: &str) -> bool {
        match self.host.strip_prefix('.') {
            Some(_) => host.len() > self.host.len() && host.ends_with(&self.host),
            None => host == self.host,
        }
    }
}

impl FromStr for Allowlist {
    type Err = InvalidEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEntry> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Entry {
    type Err = InvalidEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEntry> {
        let invalid = || InvalidEntry(text.to_owned());
        let (below, rest) = text.strip_prefix("*.").map_or(("", text), |rest| (".", rest));
        // The URL parser brings entries and URLs into the same canonical form. The parse with
        // an unknown scheme keeps a port that is the default of http.
        let url = Url::parse(&format!("foo://{rest}/")).map_err(|_| invalid())?;
        let canonical = Url::parse(&format!("http://{rest}/")).map_err(|_| invalid())?;
        let is_bare = url.path() == "/" && url.username().is_empty() && url.query().is_none();
        let host = canonical.host_str().filter(|host| is_bare && !host.contains('*')).ok_or_else(invalid)?;
        Ok(Self { host: format!("{below}{host}"), port: url.port() })
    }
}

impl fmt::Display for Allowlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Entry { host, port }) in self.0.iter().enumerate() {
            let below = if host.starts_with('.') { "*" } else { "" };
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            write!(f, "{}{below}{host}{port}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts_are_allowed() {
        let list: Allowlist = " example.com, *.Example.org,10.0.0.7:8080 ,[::1]:80,[::ffff:10.0.0.9]".parse().unwrap();
        assert_eq!(list.to_string(), "example.com,*.example.org,10.0.0.7:8080,[::1]:80,[::ffff:a00:9]");
        for url in [
            "http://example.com/",
            "https://EXAMPLE.com:8443/a?b",
            "http://example.com./",
            "http://a.example.org/",
            "http://10.0.0.7:8080/",
            "http://0x0a000007:8080/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.9]/",
        ] {
            assert_eq!(list.check(&Url::parse(url).unwrap()), Ok(()), "{url}");
        }
        for url in [
            "http://example.com.evil.net/",
            "http://sub.example.com/",
            "http://example.org/",
            "http://notexample.org/",
            "http://10.0.0.7/",
            "http://[::1]:81/",
            "ftp://example.com/",
            "http://me@example.com/",
            "http://me:secret@example.com/",
            "file:///etc/passwd",
            "data:,example.com",
        ] {
            assert!(list.check(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        assert!(Allowlist::default().check(&Url::parse("http://example.com/").unwrap()).is_err());
    }

    #[test]
    fn entries_that_are_not_hosts_are_refused() {
        for entry in ["http://example.com", "a/b", "*", "*.", "a b", "example.com:port", "me@example.com", "a?b"] {
            assert!(entry.parse::<Allowlist>().is_err(), "{entry}");
        }
    }
}
