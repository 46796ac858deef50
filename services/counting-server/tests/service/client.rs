//! A client that says what a test wants.

use std::net::SocketAddr;

use counting_socket_io::packet::{Ack, Event};
use counting_socket_io::{Address, ConnectError, Connection, Incoming, Reason};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::server::SOON;

pub(crate) const ROLES: [&str; 2] = ["client1", "client2"];

/// A client that answers pings also while a test does something else. Its connection breaks when
/// this is dropped.
pub(crate) struct Client {
    commands: mpsc::UnboundedSender<(String, Value, u64)>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    next_id: u64,
    task: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Connects. The server has given a role, or refused the client.
    pub(crate) async fn connect(address: SocketAddr, auth: Value) -> Result<Self, ConnectError> {
        let address = Address::of(&format!("http://{address}").parse().unwrap()).unwrap();
        let connection = timeout(SOON, Connection::open(&address, &auth)).await.expect("an answer to a client")?;
        let (commands, taken) = mpsc::unbounded_channel();
        let (given, incoming) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(connection, taken, given));
        Ok(Self { commands, incoming, next_id: 0, task })
    }

    /// Connects, and returns the data of `client_assigned`, too.
    pub(crate) async fn join(address: SocketAddr, auth: Value) -> (Self, Value) {
        let mut client = Self::connect(address, auth).await.unwrap();
        let assigned = client.event("client_assigned").await;
        assert_eq!(assigned.len(), 1, "{assigned:?}");
        (client, assigned[0].clone())
    }

    /// Connects both clients, which may count then.
    pub(crate) async fn pair(address: SocketAddr) -> [Self; 2] {
        let mut clients = [Self::join(address, Value::Null).await.0, Self::join(address, Value::Null).await.0];
        for client in &mut clients {
            assert_eq!(client.event("start_game").await, [Value::Null; 0]);
        }
        clients
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> Incoming {
        let next = timeout(SOON, self.incoming.recv()).await.expect("something from the server");
        next.expect("nothing follows the end")
    }

    /// What comes next is this event. Returns its arguments.
    pub(crate) async fn event(&mut self, name: &str) -> Vec<Value> {
        match self.next().await {
            Incoming::Event(Event { name: found, data, id: None }) if found == name => data,
            other => panic!("{other:?} instead of {name}"),
        }
    }

    /// What comes next is an acknowledgement. Returns its id and its argument.
    pub(crate) async fn ack(&mut self) -> (u64, Value) {
        match self.next().await {
            Incoming::Ack(Ack { id, mut data }) if data.len() == 1 => (id, data.remove(0)),
            other => panic!("{other:?} instead of an acknowledgement"),
        }
    }

    /// Ignores everything until the end of the connection.
    pub(crate) async fn end(&mut self) -> Reason {
        loop {
            if let Incoming::Disconnected(reason) = self.next().await {
                return reason;
            }
        }
    }

    /// Sends an event, and returns the id of its acknowledgement.
    pub(crate) fn emit(&mut self, event: &str, data: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        // After the end of the connection, nobody listens.
        let _ = self.commands.send((event.to_owned(), data, id));
        id
    }

    /// Sends a number, and returns the id of its acknowledgement.
    pub(crate) fn number(&mut self, number: u64) -> u64 {
        self.emit("number", number_of(number))
    }

    /// Sends an event, and returns the answer, which comes next.
    pub(crate) async fn ask(&mut self, event: &str, data: Value) -> Value {
        let sent = self.emit(event, data);
        let (id, answer) = self.ack().await;
        assert_eq!(id, sent, "{answer}");
        answer
    }

    /// Sends a number, and asserts that it is stored.
    pub(crate) async fn store(&mut self, number: u64) {
        assert_eq!(self.ask("number", number_of(number)).await, stored(number));
    }

    /// Leaves without a word.
    pub(crate) fn drop_connection(self) {
        drop(self);
    }
}

/// The data of a number of the role that counts it.
pub(crate) fn number_of(number: u64) -> Value {
    json!({ "client_id": ROLES[usize::from(number.is_multiple_of(2))], "number": number })
}

/// The answer to a number that is stored.
pub(crate) fn stored(number: u64) -> Value {
    json!({ "ok": true, "number": number })
}

/// Lets both clients count the numbers from `first` to `last`, one at a time.
pub(crate) async fn count(clients: &mut [Client; 2], first: u64, last: u64) {
    for number in first..=last {
        clients[usize::from(number.is_multiple_of(2))].store(number).await;
    }
}

/// Passes what is sent and received until the connection ends.
async fn run(
    mut connection: Connection,
    mut commands: mpsc::UnboundedReceiver<(String, Value, u64)>,
    incoming: mpsc::UnboundedSender<Incoming>,
) {
    loop {
        tokio::select! {
            Some((event, data, id)) = commands.recv() => connection.emit_with_ack(&event, data, id).unwrap(),
            next = connection.next() => {
                let is_end = matches!(next, Incoming::Disconnected(_));
                if incoming.send(next).is_err() || is_end {
                    return;
                }
            }
        }
    }
}
