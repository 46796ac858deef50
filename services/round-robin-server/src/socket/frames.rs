//! Frames as messages of a WebSocket.

use kit_web::websocket::Message;
use round_robin_core::connection::Refusal as Reason;
use round_robin_core::tables::Lost;
use round_robin_core::types::WINDOW;
use round_robin_protocol::{ClientFrame, Refusal, ServerFrame};

use super::End;
use crate::intake::Failed;

/// Reads a frame of a client.
pub(super) fn decode(message: &Message) -> Result<ClientFrame, End> {
    match message {
        // serde would also take the fields as a list.
        Message::Text(text) if !text.trim_start().starts_with('[') => {
            serde_json::from_str(text).map_err(|error| End::Broken(error.to_string()))
        }
        _ => Err(End::Broken("a frame is text: one JSON object".to_owned())),
    }
}

/// Writes a frame.
pub(super) fn encode(frame: &ServerFrame) -> Message {
    Message::text(serde_json::to_string(frame).expect("frames are plain data"))
}

/// Says why a client cannot continue where it asked for.
pub(super) fn lost_reason(lost: Lost) -> String {
    match lost {
        Lost::Deleted => "the answers before this one were deleted after their retention",
        Lost::Forgotten => "the database does not know this epoch or this answer: it lost its latest transactions",
    }
    .to_owned()
}

/// Says that a message is not allowed.
pub(super) fn invalid(counter: i64, detail: String) -> ServerFrame {
    ServerFrame::Refused { counter, code: Refusal::Invalid, detail, expected: None }
}

/// Says that a message was refused.
pub(super) fn refused(counter: i64, reason: Reason) -> ServerFrame {
    let (code, detail, expected) = match reason {
        Reason::Conflict => (Refusal::Conflict, "another message is stored under this counter".to_owned(), None),
        Reason::TooFar { expected } => {
            let detail = format!("the counter is more than {WINDOW} ahead of the first missing one: send that first");
            (Refusal::TooFarAhead, detail, Some(expected))
        }
        Reason::Gone => (Refusal::Gone, "the message was served, and its answer was deleted".to_owned(), None),
    };
    ServerFrame::Refused { counter, code, detail, expected }
}

/// Says that a message was not stored, or may not have been.
pub(super) fn failed(counter: i64, failed: Failed) -> ServerFrame {
    let (code, detail) = match failed {
        Failed::Unavailable => (Refusal::Unavailable, "the database does not answer: send the message again later"),
        Failed::Defect => (Refusal::Unavailable, "the service failed; its log says why: send the message again later"),
        Failed::Refused => (Refusal::Invalid, "the database refused the message"),
        Failed::TooLarge => (Refusal::Invalid, "the message is larger than the database accepts"),
    };
    ServerFrame::Refused { counter, code, detail: detail.to_owned(), expected: None }
}
