//! One request after the other, each on a connection of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use url::{Host, Url};

use crate::address::is_public;
use crate::{Allowlist, Refused};

/// What a client does and does not do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whom it may call.
    pub allowed: Allowlist,
    /// Whether it may call them at private addresses, too.
    pub private_addresses: bool,
    /// How long a request may take in all, redirects included.
    pub timeout: Duration,
    /// How many bytes of an answer are read at most; a longer one is an error.
    pub max_answer: usize,
    /// How many redirects are followed.
    pub max_redirects: u32,
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Request {
    /// How. Redirects are followed only for `GET` and `HEAD`.
    pub method: Method,
    /// Whom.
    pub url: Url,
    /// With what headers.
    pub headers: HeaderMap,
    /// With what body.
    pub body: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is not allowed. Trying again does not help.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The host has no address that may be called.
    #[error("{0} is at a private address")]
    Private(String),
    /// It redirects too often, or to nowhere.
    #[error("it redirects too often, or to what is no URL")]
    Redirects,
    /// The answer is longer than allowed.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// It did not answer in time.
    #[error("there was no answer within {0:?}")]
    Timeout(Duration),
    /// It has no address, or does not take the connection.
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be written down.
    #[error("not a valid request: {0}")]
    Invalid(#[from] http::Error),
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Connect(_) | Self::Http(_))
    }
}

/// Calls others. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    options: Arc<Options>,
    tls: TlsConnector,
}

impl Client {
    /// A client that trusts the certificates that browsers trust.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS needs")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { options: Arc::new(options), tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Whom it may call.
    #[must_use]
    pub fn allowed(&self) -> &Allowlist {
        &self.options.allowed
    }

    /// Asks, and reads the whole answer.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let timeout = self.options.timeout;
        tokio::time::timeout(timeout, self.follow(request)).await.unwrap_or(Err(Error::Timeout(timeout)))
    }

    async fn follow(&self, mut request: Request) -> Result<Response, Error> {
        for _ in 0..=self.options.max_redirects {
            let response = self.once(&request).await?;
            let location = response.headers.get(LOCATION).filter(|_| response.status.is_redirection());
            let Some(location) = location.filter(|_| matches!(request.method, Method::GET | Method::HEAD)) else {
                return Ok(response);
            };
            let next = location.to_str().ok().and_then(|location| request.url.join(location).ok());
            let next = next.ok_or(Error::Redirects)?;
            if next.origin() != request.url.origin() {
                // What was meant for one host is not told to another.
                request.headers.clear();
            }
            request.url = next;
        }
        Err(Error::Redirects)
    }

    async fn once(&self, request: &Request) -> Result<Response, Error> {
        self.options.allowed.check(&request.url)?;
        let stream = self.connect(&request.url).await?;
        match request.url.host() {
            Some(host) if request.url.scheme() == "https" => {
                let name = match host {
                    Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?,
                    Host::Ipv4(address) => ServerName::IpAddress(IpAddr::V4(address).into()),
                    Host::Ipv6(address) => ServerName::IpAddress(IpAddr::V6(address).into()),
                };
                self.exchange(self.tls.connect(name, stream).await?, request).await
            }
            _ => self.exchange(stream, request).await,
        }
    }

    /// Connects to the very address that was found to be allowed.
    async fn connect(&self, url: &Url) -> Result<TcpStream, Error> {
        let addresses: Vec<SocketAddr> = match (url.host(), url.port_or_known_default().unwrap_or(80)) {
            (Some(Host::Domain(name)), port) => tokio::net::lookup_host((name, port)).await?.collect(),
            (Some(Host::Ipv4(address)), port) => vec![SocketAddr::from((address, port))],
            (Some(Host::Ipv6(address)), port) => vec![SocketAddr::from((address, port))],
            (None, _) => return Err(Refused::Form.into()),
        };
        let permitted = |address: &&SocketAddr| self.options.private_addresses || is_public(address.ip());
        let mut last = Error::Private(url.host_str().unwrap_or_default().to_owned());
        for address in addresses.iter().filter(permitted) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    async fn exchange<S>(&self, stream: S, request: &Request) -> Result<Response, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with this request's timeout.
        let connection = tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(written(request)?).await?;
            let (head, body) = response.into_parts();
            let body = self.read(body).await?;
            Ok(Response { status: head.status, headers: head.headers, body })
        };
        let guard = AbortOnDrop(connection.abort_handle());
        let answer = answer.await;
        drop(guard);
        answer
    }

    async fn read(&self, mut body: Incoming) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                if bytes.len() + data.len() > self.options.max_answer {
                    return Err(Error::TooLong(self.options.max_answer));
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes)
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn written(request: &Request) -> Result<http::Request<Full<Bytes>>, Error> {
    let url = &request.url;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let body = Full::new(Bytes::from(request.body.clone()));
    let mut written =
        http::Request::builder().method(&request.method).uri(format!("{}{query}", url.path())).body(body)?;
    *written.headers_mut() = request.headers.clone();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = HeaderValue::try_from(format!("{}{port}", url.host_str().unwrap_or_default()));
    written.headers_mut().insert(HOST, host.map_err(http::Error::from)?);
    written.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static("worker-system"));
    Ok(written)
}
