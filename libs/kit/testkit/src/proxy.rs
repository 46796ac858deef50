//! A network between a process and a server, which breaks on demand.

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

/// A server that has been silent for this long after a reply has no more to say.
const REPLIED: Duration = Duration::from_millis(100);

/// Listens on a port of its own and forwards connections to a server. It lives
/// in the runtime that it was started in, until it is dropped.
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
    /// Cuts the reply to a request that holds these bytes.
    trap: Mutex<Option<Vec<u8>>>,
    trapped: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    link: Link,
    /// Connections of an earlier generation have been cut.
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// Connections are reset.
    Refusing,
    /// Nothing passes, and nobody is told.
    Silent,
    /// Requests pass, replies do not.
    OneWay,
}

/// How a connection ends for both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Cut,
}

impl Proxy {
    /// Forwards to `upstream`.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the proxy can listen");
        let address = listener.local_addr().expect("the proxy has an address");
        let network = Arc::new(Network {
            upstream,
            state: watch::Sender::new(State { link: Link::Up, generation: 0 }),
            trap: Mutex::default(),
            trapped: watch::Sender::new(0),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&network))).abort_handle();
        Self { address, network, acceptor }
    }

    /// Forwards to the server that `url` names.
    ///
    /// # Panics
    /// When `url` does not hold the address and the port of a server.
    pub async fn to(url: &str) -> Self {
        let url = Url::parse(url).expect("a URL");
        let host = url.host_str().unwrap_or("127.0.0.1").replace("localhost", "127.0.0.1");
        let port = url.port().expect("a URL with a port");
        Self::start(format!("{host}:{port}").parse().expect("a URL with an address")).await
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url`, but through this proxy.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_ip_host(self.address.ip()).expect("a URL with a host");
        url.set_port(Some(self.address.port())).expect("a URL with a port");
        url.into()
    }

    /// Resets the connections that are open now. New ones pass.
    pub fn reset(&self) {
        self.set(None, true);
    }

    /// Resets all connections, and new ones at once, until [`Self::heal`].
    pub fn cut(&self) {
        self.set(Some(Link::Refusing), true);
    }

    /// Lets nothing through and tells nobody, until [`Self::heal`]: what is sent
    /// meanwhile is lost, and new connections are accepted and then ignored.
    pub fn black_hole(&self) {
        self.set(Some(Link::Silent), false);
    }

    /// Lets requests through and loses the replies, until [`Self::heal`].
    pub fn lose_replies(&self) {
        self.set(Some(Link::OneWay), false);
    }

    /// Works again. Connections that may have lost bytes are reset: no network hands
    /// on a stream with a hole in it.
    pub fn heal(&self) {
        self.set(Some(Link::Up), false);
    }

    /// Forwards the next request that holds `text`, waits until the server has
    /// replied to all of it (a script of statements gets many replies), and then
    /// resets that connection in place of the reply: the client cannot know whether
    /// its request was carried out. It was. Once; on one connection; and only over
    /// plain connections, as it has to read along. Take a text that no other request
    /// holds: `READ COMMITTED` holds `COMMIT`.
    pub fn cut_reply_to(&self, text: impl Into<Vec<u8>>) {
        *lock(&self.network.trap) = Some(text.into());
    }

    /// Whether [`Self::cut_reply_to`] still waits for such a request.
    #[must_use]
    pub fn is_trap_set(&self) -> bool {
        lock(&self.network.trap).is_some()
    }

    /// Waits until `count` replies in all have been cut by [`Self::cut_reply_to`].
    pub async fn replies_cut(&self, count: u64) {
        let mut trapped = self.network.trapped.subscribe();
        // Cannot fail, since the sender is here.
        let _ = trapped.wait_for(|trapped| *trapped >= count).await;
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
    // Dropping the set, as this task is aborted, ends all connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let network = Arc::clone(&network);
        connections.spawn(async move {
            // What goes wrong with one connection is what its ends see.
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
            // Not even the server hears of it.
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
            // A socket that does not linger is reset when it is dropped.
            to_client.as_ref().set_zero_linger()?;
            to_server.as_ref().set_zero_linger()?;
            // Dropping these would first say goodbye.
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
            if self.springs(&mut seen, &buffer[..read]) {
                trapped.send_replace(true);
            }
            if server.write_all(&buffer[..read]).await.is_err() {
                return End::Cut;
            }
        }
        // The server sees the end, and may still have something to say.
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
            match self.link(generation) {
                Some(Link::Up) if client.write_all(&buffer[..read]).await.is_ok() => {}
                Some(Link::Silent | Link::OneWay) => {}
                _ => return End::Cut,
            }
        }
    }

    /// What becomes of the bytes of a connection; `None` if it has been cut, which its
    /// task may not know yet.
    fn link(&self, generation: u64) -> Option<Link> {
        let state = *self.state.borrow();
        (state.generation == generation).then_some(state.link)
    }

    /// Whether the bytes that went through end the wait for the trap's text.
    fn springs(&self, seen: &mut Vec<u8>, bytes: &[u8]) -> bool {
        let mut trap = lock(&self.trap);
        let Some(text) = trap.as_ref().filter(|text| !text.is_empty()) else {
            seen.clear();
            return false;
        };
        seen.extend_from_slice(bytes);
        let found = seen.windows(text.len()).any(|window| window == text);
        // The beginning of a text that the next bytes complete.
        seen.drain(..seen.len().saturating_sub(text.len() - 1));
        if found {
            *trap = None;
        }
        found
    }
}
