//! A network connection between a process and a server that fails on demand.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use url::Url;

use crate::process::lock;

/// A server that has sent nothing for this long after a reply has sent all its replies.
const REPLIED: Duration = Duration::from_millis(100);

/// Listens on a port and forwards connections to a server, until it is dropped. It runs
/// in the runtime in which it was started.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
    acceptor: AbortHandle,
}

#[derive(Debug)]
struct Network {
    upstream: SocketAddr,
    state: watch::Sender<State>,
    /// The bytes of the request whose reply is cut.
    trap: Mutex<Option<Vec<u8>>>,
    trapped: watch::Sender<u64>,
    /// Where a connection is cut next.
    next_cut: Mutex<Option<(Direction, usize)>>,
}

/// A direction in which bytes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Replies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    link: Link,
    /// Incremented when connections are reset. Those of an earlier generation end.
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// New connections are reset.
    Refusing,
    /// All bytes are dropped, and no side is notified.
    Silent,
    /// Requests are forwarded, replies are dropped.
    OneWay,
}

/// How a connection ends for both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Cut,
}

impl Proxy {
    /// Starts a proxy that forwards to `upstream`.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the proxy cannot listen");
        let address = listener.local_addr().expect("the proxy has no address");
        let network = Arc::new(Network {
            upstream,
            state: watch::Sender::new(State { link: Link::Up, generation: 0 }),
            trap: Mutex::default(),
            trapped: watch::Sender::new(0),
            next_cut: Mutex::default(),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&network))).abort_handle();
        Self { address, network, acceptor }
    }

    /// Starts a proxy that forwards to the server in `url`.
    ///
    /// # Panics
    /// When `url` does not contain the address and the port of a server.
    pub async fn to(url: &str) -> Self {
        let url = Url::parse(url).expect("a URL");
        let host = url.host_str().unwrap_or("127.0.0.1").replace("localhost", "127.0.0.1");
        let port = url.port().expect("a URL with a port");
        Self::start(format!("{host}:{port}").parse().expect("a URL with an address")).await
    }

    /// The address on which the proxy listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `url` with the address of this proxy.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_ip_host(self.address.ip()).expect("a URL with a host");
        url.set_port(Some(self.address.port())).expect("a URL with a port");
        url.into()
    }

    /// Resets all open connections. New connections are forwarded.
    pub fn reset(&self) {
        self.set(None, true);
    }

    /// Resets all open connections and, until [`Self::heal`], all new ones.
    pub fn cut(&self) {
        self.set(Some(Link::Refusing), true);
    }

    /// Drops all bytes, until [`Self::heal`]. Connections stay open, and new ones are
    /// accepted but not forwarded.
    pub fn black_hole(&self) {
        self.set(Some(Link::Silent), false);
    }

    /// Forwards requests and drops the replies, until [`Self::heal`].
    pub fn lose_replies(&self) {
        self.set(Some(Link::OneWay), false);
    }

    /// Forwards everything again. Connections that may have lost bytes are reset, because
    /// no TCP connection delivers a stream with a gap.
    pub fn heal(&self) {
        self.set(Some(Link::Up), false);
    }

    /// Cuts the reply to the next request that contains `text`. The proxy forwards the
    /// request, waits until the server has sent all its replies (a script of statements
    /// has several), and then resets the connection. The server has carried out the
    /// request, but the client cannot know that.
    ///
    /// This happens once. It needs a connection without TLS, because the proxy reads the
    /// requests. Choose a text that no other request contains: `READ COMMITTED` contains
    /// `COMMIT`.
    pub fn cut_reply_to(&self, text: impl Into<Vec<u8>>) {
        *lock(&self.network.trap) = Some(text.into());
    }

    /// Whether [`Self::cut_reply_to`] still waits for a request with its text.
    #[must_use]
    pub fn is_trap_set(&self) -> bool {
        lock(&self.network.trap).is_some()
    }

    /// Waits until [`Self::cut_reply_to`] has cut `count` replies in total.
    pub async fn replies_cut(&self, count: u64) {
        let mut trapped = self.network.trapped.subscribe();
        // Cannot fail, because this value holds the sender.
        let _ = trapped.wait_for(|trapped| *trapped >= count).await;
    }

    /// Cuts a connection in the middle of a message: forwards all but the last `missing`
    /// bytes of the next piece in `direction` that is longer than that, and then resets the
    /// connection. A piece is what one read returns, so it usually ends with a message.
    ///
    /// This happens once, unless [`Self::cancel_cut`] comes before.
    pub fn cut_within(&self, direction: Direction, missing: usize) {
        *lock(&self.network.next_cut) = Some((direction, missing));
    }

    /// Whether [`Self::cut_within`] still waits for a piece.
    #[must_use]
    pub fn is_cut_due(&self) -> bool {
        lock(&self.network.next_cut).is_some()
    }

    /// Forgets [`Self::cut_within`].
    pub fn cancel_cut(&self) {
        *lock(&self.network.next_cut) = None;
    }

    fn set(&self, link: Option<Link>, reset: bool) {
        self.network.state.send_modify(|state| {
            let link = link.unwrap_or(state.link);
            let has_holes = link != state.link && state.link != Link::Up;
            *state = State { link, generation: state.generation + u64::from(reset || has_holes) };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, network: Arc<Network>) {
    // When this task is aborted, the set is dropped, which ends all connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let network = Arc::clone(&network);
        connections.spawn(async move {
            // Both ends see an error of their connection.
            let _ = network.serve(client).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Network {
    /// Serves one connection until it ends or is cut.
    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        let mut state = self.state.subscribe();
        let State { link, generation } = *state.borrow_and_update();
        let cut = async {
            let _ = state.wait_for(|state| state.generation != generation).await;
        };
        if link == Link::Refusing {
            return client.set_zero_linger();
        }
        if link == Link::Silent {
            // The proxy does not connect to the server.
            cut.await;
            return client.set_zero_linger();
        }
        let server = match TcpStream::connect(self.upstream).await {
            Ok(server) => server,
            Err(error) => return client.set_zero_linger().and(Err(error)),
        };
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let trapped = watch::Sender::new(false);
        let end = tokio::select! {
            () = cut => End::Cut,
            end = self.requests(generation, &mut from_client, &mut to_server, &trapped) => end,
            end = self.replies(generation, &mut from_server, &mut to_client, &trapped) => end,
        };
        if end == End::Cut {
            // Without lingering, a dropped socket is reset.
            to_client.as_ref().set_zero_linger()?;
            to_server.as_ref().set_zero_linger()?;
            // Dropping the write halves would close the connections in order first.
            to_client.forget();
            to_server.forget();
        }
        Ok(())
    }

    async fn requests(
        &self,
        generation: u64,
        client: &mut OwnedReadHalf,
        server: &mut OwnedWriteHalf,
        trapped: &watch::Sender<bool>,
    ) -> End {
        let mut buffer = vec![0; 64 * 1024];
        let mut seen = Vec::new();
        loop {
            let Ok(read) = client.read(&mut buffer).await else { return End::Cut };
            if read == 0 {
                break;
            }
            match self.link(generation) {
                Some(Link::Silent) => continue,
                Some(_) => {}
                None => return End::Cut,
            }
            if let Some(part) = self.part_before_cut(Direction::Requests, &buffer[..read]) {
                // The connection ends anyway.
                let _ = server.write_all(part).await;
                return End::Cut;
            }
            if self.springs(&mut seen, &buffer[..read]) {
                trapped.send_replace(true);
            }
            if server.write_all(&buffer[..read]).await.is_err() {
                return End::Cut;
            }
        }
        // The server sees the end of the requests and may still reply.
        if server.shutdown().await.is_err() {
            return End::Cut;
        }
        std::future::pending().await
    }

    async fn replies(
        &self,
        generation: u64,
        server: &mut OwnedReadHalf,
        client: &mut OwnedWriteHalf,
        trapped: &watch::Sender<bool>,
    ) -> End {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(read) = server.read(&mut buffer).await else { return End::Cut };
            if read == 0 {
                return if client.shutdown().await.is_ok() { End::Closed } else { End::Cut };
            }
            if *trapped.borrow() {
                while let Ok(Ok(1..)) = tokio::time::timeout(REPLIED, server.read(&mut buffer)).await {}
                self.trapped.send_modify(|count| *count += 1);
                return End::Cut;
            }
            if let Some(part) = self.part_before_cut(Direction::Replies, &buffer[..read]) {
                // The connection ends anyway.
                let _ = client.write_all(part).await;
                return End::Cut;
            }
            match self.link(generation) {
                Some(Link::Up) if client.write_all(&buffer[..read]).await.is_ok() => {}
                Some(Link::Silent | Link::OneWay) => {}
                _ => return End::Cut,
            }
        }
    }

    /// The state of the link for a connection of `generation`. `None` if the connection
    /// has been cut, which its task may not have noticed yet.
    fn link(&self, generation: u64) -> Option<Link> {
        let state = *self.state.borrow();
        (state.generation == generation).then_some(state.link)
    }

    /// The bytes of `piece` to forward before the connection is cut. `None` if it is not cut
    /// within this piece.
    fn part_before_cut<'a>(&self, direction: Direction, piece: &'a [u8]) -> Option<&'a [u8]> {
        let mut next = lock(&self.next_cut);
        let (_, missing) = next.take_if(|(wanted, missing)| *wanted == direction && piece.len() > *missing)?;
        piece.get(..piece.len() - missing)
    }

    /// Whether the forwarded `bytes` complete the text of the trap. Removes the trap if so.
    fn springs(&self, seen: &mut Vec<u8>, bytes: &[u8]) -> bool {
        let mut trap = lock(&self.trap);
        let Some(text) = trap.as_ref().filter(|text| !text.is_empty()) else {
            seen.clear();
            return false;
        };
        seen.extend_from_slice(bytes);
        let found = seen.windows(text.len()).any(|window| window == text);
        // Keeps what may be the beginning of the text.
        seen.drain(..seen.len().saturating_sub(text.len() - 1));
        if found {
            *trap = None;
        }
        found
    }
}
