//! The connection below AMQP: it is opened within a time, and can be cut.

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

/// Cuts a connection, whatever it is doing. lapin reads and writes on a thread of
/// its own, which cannot be told to end and would wait forever for a broker that
/// does not answer: a socket that is shut down ends it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scissors(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
enum Line {
    #[default]
    NotYet,
    Open(std::net::TcpStream),
    Cut,
}

impl Scissors {
    pub(crate) fn cut(&self) {
        if let Line::Open(stream) = std::mem::replace(&mut *self.line(), Line::Cut) {
            // Fails if the other side was faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn hold(&self, stream: &TcpStream) -> io::Result<()> {
        let stream = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        match &mut *self.line() {
            Line::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
            line => {
                *line = Line::Open(stream);
                Ok(())
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to the broker, encrypted or not.
pub(crate) enum Socket {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Socket {
    pub(crate) async fn connect(address: &Address, scissors: &Scissors, within: Duration) -> io::Result<Self> {
        let connecting = async {
            let authority = &address.uri.authority;
            let stream = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
            stream.set_nodelay(true)?;
            scissors.hold(&stream)?;
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

/// tokio, with [`Socket`] in place of its streams: this is how lapin takes it.
#[derive(Debug, Clone)]
pub(crate) struct Kit(Tokio);

impl Kit {
    /// Of the runtime that this is called in.
    pub(crate) fn current() -> Self {
        Self(Tokio::current())
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
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

impl Reactor for Kit {
    type TcpStream = Socket;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// For sockets of other kinds, of which there are none here.
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

    /// Never asked for, as [`Socket::connect`] does it.
    fn tcp_connect_addr(
        &self,
        _address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
