//! Tests against servers on loopback addresses.

mod addresses;
mod connections;
mod limits;
mod redirects;
mod server;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Method};
use kit_tls::RootCertStore;

use self::server::Server;
use crate::connector::AddressCheck;
use crate::resolver::{Resolve, Resolving};
use crate::{Client, Error, Options, Request, Response};

/// An address that passes [`check`].
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An address that does not pass [`check`].
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Stands for the check for public addresses, which no address of a test passes.
fn check(address: IpAddr) -> bool {
    address == PUBLIC
}

/// Resolves each name to the next of its answers, and to the last one from then on.
#[derive(Clone, Default)]
struct Dns {
    answers: Arc<Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>>,
    names: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    fn with<const N: usize>(self, name: &str, answers: [&[IpAddr]; N]) -> Self {
        let answers = answers.map(<[IpAddr]>::to_vec).into();
        self.answers.lock().unwrap().insert(name.to_owned(), answers);
        self
    }

    /// The names that were resolved.
    fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }
}

impl Resolve for Dns {
    fn resolve(&self, name: &str) -> Resolving {
        self.names.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = answers.get_mut(name).map(|answers| match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        });
        Box::pin(std::future::ready(answer.ok_or_else(|| std::io::Error::other("no such name"))))
    }
}

fn options(allowlist: &str) -> Options {
    Options {
        allowlist: allowlist.parse().unwrap(),
        allow_private_addresses: false,
        timeout: Duration::from_secs(10),
        max_response_bytes: 4096,
        max_redirects: 3,
    }
}

/// A client of [`PUBLIC`] that resolves names by `dns`.
fn client(allowlist: &str, dns: &Dns) -> Client {
    client_with(options(allowlist), dns, check)
}

fn client_with(options: Options, dns: &Dns, check: AddressCheck) -> Client {
    Client::with(options, check, Arc::new(dns.clone()), kit_tls::client_config(RootCertStore::empty()))
}

async fn send(client: &Client, method: Method, url: &str) -> Result<Response, Error> {
    let headers = HeaderMap::from_iter([("x-secret".parse().unwrap(), "s".parse().unwrap())]);
    client.send(Request { method, url: url.parse().unwrap(), headers, body: b"body".to_vec() }).await
}

async fn get(client: &Client, url: &str) -> Result<Response, Error> {
    send(client, Method::GET, url).await
}
