//! Requests in parts, each of which is one transaction.
//!
//! Within a part, the order of the requests does not matter, except that the first of several for
//! one message wins: the counters of each client lie in a window, so a counter that is too far at the
//! beginning stays so, and all requests of a client come from the same connection.

use std::collections::BTreeMap;

use round_robin_core::tables::Request;
use round_robin_core::types::{ClientId, Epoch, WINDOW};

/// Most requests in a part, which bounds how long others wait for its locks.
const REQUESTS: usize = 2000;

/// A request and its place in the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) index: usize,
    pub(crate) request: &'a Request,
}

impl<'a> Sent<'a> {
    /// The key of the message.
    pub(crate) const fn key(&self) -> (&'a ClientId, i64) {
        (&self.request.client, self.request.counter)
    }
}

/// The requests of one client in a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// The connection over which all of them came.
    pub(crate) epoch: Option<Epoch>,
    /// The lowest counter.
    pub(crate) first: i64,
    /// The highest counter.
    pub(crate) last: i64,
    /// Number of different counters.
    pub(crate) counters: i64,
}

impl Group {
    /// Whether no counter between the first and the last one is left out.
    pub(crate) const fn is_one_run(&self) -> bool {
        self.counters == self.last - self.first + 1
    }
}

/// Splits requests into parts, in order, whose scripts are at most `longest` bytes long. The script
/// of a single request may be longer: the store refuses to run it.
pub(crate) fn split(requests: &[Request], longest: usize) -> Vec<Vec<Sent<'_>>> {
    let mut parts: Vec<Vec<Sent<'_>>> = Vec::new();
    let mut bounds = Bounds::default();
    for (index, request) in requests.iter().enumerate() {
        let sent = Sent { index, request };
        match parts.last_mut() {
            Some(part) if bounds.admit(&sent, longest) => part.push(sent),
            _ => {
                bounds = Bounds::default();
                bounds.admit(&sent, longest);
                parts.push(vec![sent]);
            }
        }
    }
    parts
}

/// The requests of a part by client.
pub(crate) fn groups<'a>(part: &[Sent<'a>]) -> BTreeMap<&'a ClientId, Group> {
    let mut counters: Vec<(&ClientId, i64, Option<Epoch>)> =
        part.iter().map(|sent| (&sent.request.client, sent.request.counter, sent.request.epoch)).collect();
    counters.sort_unstable();
    counters.dedup();
    let mut groups: BTreeMap<&ClientId, Group> = BTreeMap::new();
    for (client, counter, epoch) in counters {
        let new = Group { epoch, first: counter, last: counter, counters: 0 };
        let group = groups.entry(client).or_insert(new);
        group.last = counter;
        group.counters += 1;
    }
    groups
}

/// What a part holds so far.
#[derive(Debug, Default)]
struct Bounds<'a> {
    requests: usize,
    /// Length of the script, or more.
    bytes: usize,
    /// The connection and the lowest and highest counter of each client.
    clients: BTreeMap<&'a ClientId, (Option<Epoch>, i64, i64)>,
}

impl<'a> Bounds<'a> {
    /// Length of a script without requests, or more.
    const SCRIPT: usize = 8 * 1024;

    /// How much longer a request makes the script besides its texts, or more.
    const REQUEST: usize = 64;

    /// How much longer a client makes the script besides its name, or more.
    const CLIENT: usize = 1024;

    /// How often a script contains the name of a client besides its messages, or more.
    const NAMES: usize = 16;

    /// Adds a request if it fits.
    fn admit(&mut self, sent: &Sent<'a>, longest: usize) -> bool {
        let Request { client, counter, epoch, message } = sent.request;
        // Texts are hexadecimal digits.
        let mut bytes = self.bytes.max(Self::SCRIPT) + Self::REQUEST + 2 * (client.as_str().len() + message.len());
        let mut group = (*epoch, *counter, *counter);
        match self.clients.get(client) {
            Some((of_group, first, last)) => group = (*of_group, (*first).min(*counter), (*last).max(*counter)),
            None => bytes += Self::CLIENT + 2 * Self::NAMES * client.as_str().len(),
        }
        let is_one_connection = group.0 == *epoch;
        let is_window = group.2 - group.1 <= WINDOW;
        let fits = self.requests < REQUESTS && bytes <= longest && is_one_connection && is_window;
        if fits || self.requests == 0 {
            (self.requests, self.bytes) = (self.requests + 1, bytes);
            self.clients.insert(client, group);
            return true;
        }
        false
    }
}
