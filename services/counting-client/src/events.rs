//! The events of the protocol.

use counting_core::Role;
use counting_protocol::{
    Assigned, CLIENT_ASSIGNED, DISCONNECT_REASON, DisconnectReason, Number, START_GAME, STOP_GAME,
};
use counting_socket_io::packet::Event;
use serde::Deserialize;
use serde_json::{Value, json};

/// An event of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// `client_assigned`: the client has this role.
    Assigned {
        role: Role,
        /// The last number of the role that is stored; 0 if none.
        last_number: u64,
    },
    /// `start_game`: both clients are there.
    Start,
    /// `stop_game`: one of them has left, or numbers cannot be stored.
    Stop,
    /// `disconnect_reason`: why the server is about to disconnect the client.
    Reason(String),
    /// An event that this client does not know.
    Other,
}

impl Told {
    /// Reads an event.
    ///
    /// # Errors
    /// The event is known, and its data is not what belongs to it.
    pub(crate) fn of(event: &Event) -> Result<Self, String> {
        match event.name.as_str() {
            CLIENT_ASSIGNED => {
                let Assigned { client_id: role, last_number } = data_of(event)?;
                Ok(Self::Assigned { role, last_number })
            }
            START_GAME => Ok(Self::Start),
            STOP_GAME => Ok(Self::Stop),
            DISCONNECT_REASON => {
                let DisconnectReason { reason } = data_of(event)?;
                Ok(Self::Reason(reason))
            }
            _ => Ok(Self::Other),
        }
    }
}

fn data_of<'a, T: Deserialize<'a>>(event: &'a Event) -> Result<T, String> {
    T::deserialize(event.data.first().unwrap_or(&Value::Null)).map_err(|error| error.to_string())
}

/// The data with which a client sends a number.
pub(crate) fn number(role: Role, number: u64) -> Value {
    json!(Number { client_id: role, number })
}

/// The auth payload with which a client connects.
pub(crate) fn credentials(wanted: Option<Role>) -> Value {
    wanted.map_or(Value::Null, |role| json!({ "role": role.name() }))
}

/// The result in an acknowledgement: why the number was refused. Servers acknowledge with anything
/// or nothing, so only `{"ok": false}` is a refusal.
pub(crate) fn acknowledged(data: &[Value]) -> Result<(), String> {
    match data.first() {
        Some(answer) if answer.get("ok") == Some(&Value::Bool(false)) => {
            let error = answer.get("error").map_or("without a reason".to_owned(), |error| {
                error.as_str().map_or_else(|| error.to_string(), str::to_owned)
            });
            Err(error)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, data: Value) -> Result<Told, String> {
        Told::of(&Event { name: name.to_owned(), data: vec![data], id: None })
    }

    #[test]
    fn an_assignment_has_a_role_and_a_number() {
        let assigned = told("client_assigned", json!({ "client_id": "client2", "last_number": 8, "more": [] }));
        assert_eq!(assigned, Ok(Told::Assigned { role: Role::Client2, last_number: 8 }));
        for data in [
            json!(null),
            json!({ "client_id": "client2" }),
            json!({ "client_id": "client3", "last_number": 0 }),
            json!({ "client_id": "client1", "last_number": -1 }),
            json!({ "client_id": 1, "last_number": 1.5 }),
        ] {
            assert!(told("client_assigned", data.clone()).is_err(), "{data}");
        }
    }

    #[test]
    fn a_server_may_say_why_it_disconnects() {
        let reason = told("disconnect_reason", json!({ "reason": "because" }));
        assert_eq!(reason, Ok(Told::Reason("because".to_owned())));
        assert!(told("disconnect_reason", json!("because")).is_err());
    }

    #[test]
    fn only_a_plain_no_is_a_refusal() {
        for data in [vec![], vec![json!(null)], vec![json!({ "ok": true })], vec![json!("ok")], vec![json!(false)]] {
            assert_eq!(acknowledged(&data), Ok(()), "{data:?}");
        }
        let refused = |answer| acknowledged(&[answer]).unwrap_err();
        assert_eq!(refused(json!({ "ok": false, "error": "too far" })), "too far");
        assert_eq!(refused(json!({ "ok": false, "error": 7 })), "7");
        assert_eq!(refused(json!({ "ok": false })), "without a reason");
    }
}
