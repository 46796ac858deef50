//! One accepted connection, from the accept to the close, upgraded or not.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Extensions, Request, header};
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service as _;

use super::Limits;

/// The largest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Signals from the listener to its connections, and the number of open connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifecycle {
    /// Cancelled when connections should end.
    pub(crate) drain: CancellationToken,
    /// Cancelled when connections must end at once.
    pub(crate) cut: CancellationToken,
    /// Open connections, and handlers of upgraded connections.
    pub(crate) open: TaskTracker,
    /// Time of the last bytes of one connection, in milliseconds since [`EPOCH`].
    read_at: Arc<AtomicU64>,
}

/// The origin of the times at which connections received bytes.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn milliseconds() -> u64 {
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The connection of a request that asks for an upgrade. Cheap to clone.
///
/// A library that owns the upgraded connection may not show whether its client still sends
/// bytes, or may wait for ever until the client accepts some. This handle does not depend on it.
#[derive(Debug, Clone)]
pub struct Connection {
    read_at: Arc<AtomicU64>,
    cut: CancellationToken,
}

impl Connection {
    /// The connection of a request. `None` unless the request asks for an upgrade.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let lifecycle = extensions.get::<Lifecycle>()?;
        Some(Self { read_at: Arc::clone(&lifecycle.read_at), cut: lifecycle.cut.clone() })
    }

    /// Time since the client last sent bytes.
    #[must_use]
    pub fn silence(&self) -> Duration {
        Duration::from_millis(milliseconds().saturating_sub(self.read_at.load(Ordering::Relaxed)))
    }

    /// Ends the connection at once. Its owner receives an error at the next read or write.
    pub fn cut(&self) {
        self.cut.cancel();
    }
}

impl Lifecycle {
    /// Creates the signals for one connection. Waiting for tokens of its own takes no
    /// lock that connections share.
    fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            cut: self.cut.child_token(),
            open: self.open.clone(),
            read_at: Arc::new(AtomicU64::new(milliseconds())),
        }
    }
}

/// Serves one connection until it ends, is upgraded, or is cut. It counts as open from
/// this call on.
pub(super) fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    router: Router,
    limits: Limits,
    lifecycle: &Lifecycle,
) -> impl Future<Output = ()> + Send + use<> {
    let lifecycle = lifecycle.child();
    let _ = stream.set_nodelay(true);
    let io = Io::new(stream, place, &lifecycle);
    let (drain, cut) = (lifecycle.drain.clone(), lifecycle.cut.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout.0)
        .max_buf_size(MAX_HEAD)
        .half_close(!limits.notice_disconnects)
        .serve_connection(TokioIo::new(io), Requests { router, peer, lifecycle })
        .with_upgrades();
    async move {
        let mut connection = std::pin::pin!(connection);
        // A connection that the client aborts is not an error of the service.
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            _ = connection => {}
        }
    }
}

/// Passes the requests of one connection to the router.
struct Requests {
    router: Router,
    peer: SocketAddr,
    lifecycle: Lifecycle,
}

impl Service<Request<Incoming>> for Requests {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = RouteFuture<Self::Error>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let asks_for_upgrade = request.headers().contains_key(header::UPGRADE);
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.peer));
        if asks_for_upgrade {
            extensions.insert(self.lifecycle.clone());
        }
        // A router is always ready.
        self.router.clone().call(request.map(Body::new))
    }
}

/// The place of one connection, among those of its listener and those of the process.
pub(super) struct Place {
    pub(super) _own: Option<OwnedSemaphorePermit>,
    pub(super) _of_process: Option<OwnedSemaphorePermit>,
}

/// The socket of a connection. Whatever owns the socket, such as hyper or the owner of
/// an upgraded connection, also owns the place of the connection and its part in the count
/// of open connections, and cannot use the socket after the cut.
struct Io {
    stream: TcpStream,
    // One for each direction, since two tasks may wait for them.
    read_cut: Pin<Box<WaitForCancellationFutureOwned>>,
    write_cut: Pin<Box<WaitForCancellationFutureOwned>>,
    read_at: Arc<AtomicU64>,
    _place: Place,
    _open: TaskTrackerToken,
}

impl Io {
    fn new(stream: TcpStream, place: Place, lifecycle: &Lifecycle) -> Self {
        let cut = || Box::pin(lifecycle.cut.clone().cancelled_owned());
        let read_at = Arc::clone(&lifecycle.read_at);
        Self { stream, read_cut: cut(), write_cut: cut(), read_at, _place: place, _open: lifecycle.open.token() }
    }

    fn poll_write_with<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        unless_cut(self.write_cut.as_mut(), context)?;
        write(Pin::new(&mut self.stream), context)
    }
}

fn unless_cut(cut: Pin<&mut WaitForCancellationFutureOwned>, context: &mut Context<'_>) -> io::Result<()> {
    match cut.poll(context) {
        Poll::Pending => Ok(()),
        Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the drain time is over")),
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        unless_cut(self.read_cut.as_mut(), context)?;
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.read_at.store(milliseconds(), Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Does nothing: a TCP socket has no buffer of its own.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
