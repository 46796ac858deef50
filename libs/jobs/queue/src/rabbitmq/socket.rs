//! The socket below AMQP: it is opened within a time limit, and can be cut.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::address::Address;

/// Cuts a connection at any time. lapin reads and writes on a thread of its own that cannot
/// be stopped and would wait forever for a broker that does not answer; shutting down its
/// socket ends it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SocketCutter(Arc<Mutex<SocketState>>);

#[derive(Debug, Default)]
enum SocketState {
    #[default]
    Unopened,
    Open(std::net::TcpStream),
    Cut,
}

impl SocketCutter {
    /// Shuts down the socket, or prevents that one is opened.
    pub(crate) fn cut(&self) {
        if let SocketState::Open(stream) = std::mem::replace(&mut *self.state(), SocketState::Cut) {
            // Fails if the other side has closed the connection.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Keeps a handle of the socket; fails if the connection was cut before.
    fn hold(&self, stream: &TcpStream) -> io::Result<()> {
        let stream = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        match &mut *self.state() {
            SocketState::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
            state => {
                *state = SocketState::Open(stream);
                Ok(())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, SocketState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to the broker, encrypted or not.
pub(crate) enum Socket {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Connects, with TLS if the address asks for it, `within` a time limit.
    pub(crate) async fn connect(address: &Address, cutter: &SocketCutter, within: Duration) -> io::Result<Self> {
        let connecting = async {
            let authority = &address.uri.authority;
            let stream = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
            stream.set_nodelay(true)?;
            cutter.hold(&stream)?;
            match &address.tls {
                None => Ok(Self::Plain(stream)),
                Some(tls) => {
                    let stream = tls.connector.connect(tls.server.clone(), stream).await?;
                    Ok(Self::Encrypted(Box::new(stream)))
                }
            }
        };
        let connected = tokio::time::timeout(within, connecting).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl futures_io::AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        ready!(match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl futures_io::AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// The tokio runtime as lapin expects it, with [`Socket`] as its stream.
#[derive(Debug, Clone)]
pub(crate) struct LapinRuntime(Tokio);

impl LapinRuntime {
    /// The runtime that this is called in.
    pub(crate) fn current() -> Self {
        Self(Tokio::current())
    }
}

impl RuntimeKit for LapinRuntime {}

impl Executor for LapinRuntime {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, f: F) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(f)
    }
}

impl Reactor for LapinRuntime {
    type TcpStream = Socket;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// For other kinds of sockets; unused.
    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static> {
        Err::<Socket, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(period)
    }

    /// Unused: [`Socket::connect`] opens connections.
    fn tcp_connect_addr(
        &self,
        _address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
