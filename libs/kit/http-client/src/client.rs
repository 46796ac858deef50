//! Sends requests, follows redirects and reads responses.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use kit_tls::ClientConfig;
use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use url::{Host, Url};

use crate::address::is_public;
use crate::resolver::{AddressCheck, CheckedResolver, SystemResolver};
use crate::{Allowlist, Error};

/// How long a connection attempt may take, over all addresses of a host. One that does
/// not answer leaves time for the others.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept. Shorter than the keep-alive of common servers
/// (5 s and more): a request on a connection that the server closes at the same moment
/// fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The settings of a [`Client`].
#[derive(Debug, Clone)]
pub struct Options {
    /// The hosts that the client may call.
    pub allowlist: Allowlist,
    /// Whether the client may connect to private addresses of these hosts.
    pub allow_private_addresses: bool,
    /// The longest time from a request to the end of its response, redirects included.
    pub timeout: Duration,
    /// The longest response body, in bytes.
    pub max_response_bytes: usize,
    /// The largest number of redirects that the client follows for one request.
    pub max_redirects: u32,
}

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method. The client follows redirects of `GET` and `HEAD` only.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The headers. A `Host` is replaced by that of the URL.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// An HTTP response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, as the server sent it: the client does not decompress.
    pub body: Vec<u8>,
}

/// An HTTP client that calls allowed hosts only. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    check: AddressCheck,
    options: Arc<Options>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Client {
    /// Creates a client that trusts the certificate authorities that browsers trust.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let check: AddressCheck = if options.allow_private_addresses { |_| true } else { is_public };
        Self::with(options, check, Arc::new(SystemResolver), kit_tls::client_config(kit_tls::public_roots()))
    }

    pub(crate) fn with(options: Options, check: AddressCheck, resolver: Arc<dyn Resolve>, tls: ClientConfig) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the client receives its TLS configuration")]
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(CheckedResolver { resolver, check })
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent("worker-system")
            // Decompression would be on if another crate enabled these features of reqwest.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build()
            .expect("the TLS configuration is one of rustls");
        Self { http, check, options: Arc::new(options) }
    }

    /// Sends `request`, follows redirects, and reads the whole response. Each URL is
    /// checked before the client connects.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let timeout = self.options.timeout;
        tokio::time::timeout(timeout, self.follow_redirects(request)).await.unwrap_or(Err(Error::Timeout(timeout)))
    }

    async fn follow_redirects(&self, mut request: Request) -> Result<Response, Error> {
        for _ in 0..=self.options.max_redirects {
            let response = self.send_once(&request).await?;
            let location = response.headers.get(LOCATION).filter(|_| response.status.is_redirection());
            let Some(location) = location.filter(|_| matches!(request.method, Method::GET | Method::HEAD)) else {
                return Ok(response);
            };
            let location = location.to_str().ok().and_then(|location| request.url.join(location).ok());
            let next = location.ok_or(Error::InvalidRedirect)?;
            if next.origin() != request.url.origin() {
                // Headers may contain credentials for the first host.
                request.headers.clear();
            }
            request.url = next;
        }
        Err(Error::TooManyRedirects(self.options.max_redirects))
    }

    async fn send_once(&self, request: &Request) -> Result<Response, Error> {
        self.options.allowlist.check(&request.url)?;
        self.check_literal_address(&request.url)?;
        let mut headers = request.headers.clone();
        headers.remove(HOST);
        let builder = self.http.request(request.method.clone(), request.url.clone());
        let mut response = builder.headers(headers).body(request.body.clone()).send().await?;
        let body = self.read_body(&mut response).await?;
        Ok(Response { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
    }

    /// Checks the address in a URL that contains one: it bypasses the resolver.
    fn check_literal_address(&self, url: &Url) -> Result<(), Error> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if (self.check)(address) { Ok(()) } else { Err(Error::PrivateAddress(address.to_string())) }
    }

    /// Reads the body chunk by chunk, and stops at the limit.
    async fn read_body(&self, response: &mut reqwest::Response) -> Result<Vec<u8>, Error> {
        let limit = self.options.max_response_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(Error::ResponseTooLong(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
