//! Which hosts may be called.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// Hosts that may be called: by name, by name below a domain, or by address; each
/// on any port, or on one.
///
/// Written as a list with commas: `example.com,*.example.org,10.0.0.7:8080`.
/// Nobody, if it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowlist(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Lower case. With a leading dot: any name that ends with it.
    host: String,
    port: Option<u16>,
}

/// An entry that is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host, such as example.com, *.example.com or 10.0.0.7:8080")]
pub struct InvalidEntry(String);

/// Why a URL may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not `http` or `https`, or with a password, or without a host.
    #[error("only http and https URLs without user and password can be called")]
    Form,
    /// The host is not on the list.
    #[error("the host {0} is not on the list of those that may be called")]
    Host(String),
}

impl Allowlist {
    /// Whether `url` may be called, as far as its name tells.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        let has_user = !url.username().is_empty() || url.password().is_some();
        let host = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => format!("[{address}]"),
            None => return Err(Refused::Form),
        };
        if !matches!(url.scheme(), "http" | "https") || has_user {
            return Err(Refused::Form);
        }
        let port = url.port_or_known_default();
        let permits = |entry: &Entry| entry.is_host(&host) && entry.port.is_none_or(|of| Some(of) == port);
        if self.0.iter().any(permits) { Ok(()) } else { Err(Refused::Host(host)) }
    }

    /// Whether nobody may be called.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        // A URL is read as it will be later, so that both mean the same host.
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
    fn only_what_is_listed_is_permitted() {
        let list: Allowlist = " example.com, *.Example.org,10.0.0.7:8080 ,[::1]:80".parse().unwrap();
        assert_eq!(list.to_string(), "example.com,*.example.org,10.0.0.7:8080,[::1]:80");
        for url in [
            "http://example.com/",
            "https://EXAMPLE.com:8443/a?b",
            "http://example.com./",
            "http://a.example.org/",
            "http://10.0.0.7:8080/",
            "http://0x0a000007:8080/",
            "http://[::1]/",
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
    fn what_is_no_host_is_refused() {
        for entry in ["http://example.com", "a/b", "*", "*.", "a b", "example.com:port", "me@example.com", "a?b"] {
            assert!(entry.parse::<Allowlist>().is_err(), "{entry}");
        }
    }
}
