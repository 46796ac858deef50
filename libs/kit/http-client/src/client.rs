//! Sends requests, follows redirects and reads responses.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kit_tls::ClientConfig;
use url::Url;

use crate::address::is_public;
use crate::connector::{AddressCheck, Connector};
use crate::resolver::{Resolve, SystemResolver};
use crate::{Allowlist, Error};

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
    http: legacy::Client<HttpsConnector<Connector>, Full<Bytes>>,
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
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(https.wrap_connector(Connector { resolver, check }));
        Self { http, options: Arc::new(options) }
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
        let response = self.http.request(http_request(request)?).await?;
        let (head, body) = response.into_parts();
        Ok(Response { status: head.status, headers: head.headers, body: self.read_body(body).await? })
    }

    /// Reads the body frame by frame, and stops at the limit.
    async fn read_body(&self, mut response: Incoming) -> Result<Vec<u8>, Error> {
        let limit = self.options.max_response_bytes;
        let mut body = Vec::new();
        while let Some(frame) = response.frame().await {
            // Trailers are ignored.
            let Ok(data) = frame?.into_data() else { continue };
            if body.len() + data.len() > limit {
                return Err(Error::ResponseTooLong(limit));
            }
            body.extend_from_slice(&data);
        }
        Ok(body)
    }
}

fn http_request(request: &Request) -> Result<http::Request<Full<Bytes>>, Error> {
    let uri: Uri = request.url.as_str().parse().map_err(|error| Error::InvalidRequest(Box::new(error)))?;
    let mut http = http::Request::new(Full::from(request.body.clone()));
    *http.method_mut() = request.method.clone();
    *http.uri_mut() = uri;
    let headers = http.headers_mut();
    headers.clone_from(&request.headers);
    // The client derives it from the URL.
    headers.remove(HOST);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("worker-system"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    Ok(http)
}
