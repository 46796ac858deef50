//! The events that clients and the server exchange by Socket.IO.

mod role;

use counting_core::Role;
use serde::{Deserialize, Serialize};

/// The event by which the server gives a client its role. Its data is [`Assigned`].
pub const CLIENT_ASSIGNED: &str = "client_assigned";

/// The event after which a client counts. It has no data.
pub const START_GAME: &str = "start_game";

/// The event after which a client does not count. It has no data.
pub const STOP_GAME: &str = "stop_game";

/// The event before the server disconnects a client. Its data is [`DisconnectReason`].
pub const DISCONNECT_REASON: &str = "disconnect_reason";

/// The event by which a client counts. Its data is [`Number`].
pub const NUMBER: &str = "number";

/// Data of [`CLIENT_ASSIGNED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The role of the client.
    #[serde(with = "role")]
    pub client_id: Role,
    /// The last number of the role that is stored; 0 if none.
    pub last_number: u64,
}

/// Data of [`NUMBER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number {
    /// The role of the client.
    #[serde(with = "role")]
    pub client_id: Role,
    /// The number.
    pub number: u64,
}

/// Data of [`DISCONNECT_REASON`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisconnectReason {
    /// The reason, as a sentence.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn data_is_an_object_with_the_name_of_the_role() {
        let assigned = Assigned { client_id: Role::Client2, last_number: 8 };
        let document = json!({ "client_id": "client2", "last_number": 8 });
        assert_eq!(to_value(assigned).unwrap(), document);
        assert_eq!(from_value::<Assigned>(document).unwrap(), assigned);
        let number = Number { client_id: Role::Client1, number: 9 };
        let document = json!({ "client_id": "client1", "number": 9, "more": [] });
        assert_eq!(from_value::<Number>(document).unwrap(), number);
    }

    #[test]
    fn a_role_that_does_not_exist_is_an_error() {
        for client_id in [json!("client3"), json!(""), json!(1), json!(null)] {
            let document = json!({ "client_id": client_id, "number": 1 });
            assert!(from_value::<Number>(document.clone()).is_err(), "{document}");
        }
    }
}
