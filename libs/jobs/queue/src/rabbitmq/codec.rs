//! Encoding of messages: the body is the id of the job as text, a header holds the trace,
//! and the routing key is the priority. The broker adds a header to dead letters.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use crate::{Death, Message, Priority};

/// Header of a dead letter: a table for each queue in which it died, the latest first.
const DEATHS: &str = "x-death";

const TRACEPARENT: &str = "traceparent";

/// Longest `traceparent` that is passed on, in bytes. A valid one has 55.
const TRACEPARENT_MAX: usize = 256;

pub(crate) fn body(message: &Message) -> Vec<u8> {
    message.job.to_string().into_bytes()
}

pub(crate) fn properties(message: &Message) -> BasicProperties {
    // 2: persistent.
    let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("text/plain".into());
    match message.traceparent.as_deref().filter(|trace| trace.len() <= TRACEPARENT_MAX) {
        Some(trace) => {
            let mut headers = FieldTable::default();
            headers.insert(TRACEPARENT.into(), AMQPValue::LongString(trace.into()));
            properties.with_headers(headers)
        }
        None => properties,
    }
}

/// Decodes a message; `None` if its body is not the id of a job. The priority is that of
/// the routing key, or `default` if a user put the message into a queue by other means.
pub(crate) fn message(
    body: &[u8],
    routing_key: &str,
    properties: &BasicProperties,
    default: Priority,
) -> Option<Message> {
    let job = Uuid::try_parse_ascii(body.trim_ascii()).ok()?;
    let trace = properties.headers().as_ref().and_then(|headers| match headers.inner().get(TRACEPARENT)? {
        AMQPValue::LongString(trace) => std::str::from_utf8(trace.as_bytes()).ok(),
        _ => None,
    });
    let traceparent = trace.filter(|trace| trace.len() <= TRACEPARENT_MAX).map(ToOwned::to_owned);
    Some(Message { job, priority: routing_key.parse().unwrap_or(default), traceparent })
}

/// The latest reason why a message became a dead letter. `None` if it is not a dead letter, or if
/// the reason is unknown.
pub(crate) fn death(properties: &BasicProperties) -> Option<Death> {
    let AMQPValue::FieldArray(deaths) = properties.headers().as_ref()?.inner().get(DEATHS)? else { return None };
    let AMQPValue::FieldTable(latest) = deaths.as_slice().first()? else { return None };
    let AMQPValue::LongString(reason) = latest.inner().get("reason")? else { return None };
    match reason.as_bytes() {
        b"rejected" => Some(Death::Rejected),
        b"delivery_limit" => Some(Death::DeliveryLimit),
        b"expired" => Some(Death::Expired),
        b"maxlen" => Some(Death::LengthLimit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    fn dead(reasons: &[&str]) -> BasicProperties {
        let death = |reason: &&str| {
            let mut table = FieldTable::default();
            table.insert("reason".into(), AMQPValue::LongString((*reason).into()));
            AMQPValue::FieldTable(table)
        };
        let mut headers = FieldTable::default();
        let deaths = FieldArray::from(reasons.iter().map(death).collect::<Vec<_>>());
        headers.insert(DEATHS.into(), AMQPValue::FieldArray(deaths));
        BasicProperties::default().with_headers(headers)
    }

    #[test]
    fn the_latest_death_counts() {
        assert_eq!(death(&dead(&["expired", "rejected"])), Some(Death::Expired));
        assert_eq!(death(&dead(&["maxlen"])), Some(Death::LengthLimit));
        assert_eq!(death(&dead(&["delivery_limit"])), Some(Death::DeliveryLimit));
        assert_eq!(death(&dead(&["rejected"])), Some(Death::Rejected));
        for unknown in [dead(&["a reason of later versions"]), dead(&[]), BasicProperties::default()] {
            assert_eq!(death(&unknown), None);
        }
    }

    #[test]
    fn what_is_sent_is_understood() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        for traceparent in [None, Some(trace)] {
            let sent = Message { job: Uuid::now_v7(), priority: Priority::High, traceparent };
            let received = message(&body(&sent), "high", &properties(&sent), Priority::Low);
            assert_eq!(received, Some(sent));
        }
    }

    #[test]
    fn what_others_send_does_no_harm() {
        let plain = BasicProperties::default();
        for body in [&b""[..], b"hello", b"\xff\xfe", &[0; 16]] {
            assert_eq!(message(body, "high", &plain, Priority::Low), None);
        }
        let by_hand = message(b" 018f2d6e-7c1a-7d3b-8a55-3c9f5be0a7d1\n", "jobs.low", &plain, Priority::Low);
        assert_eq!(by_hand.map(|message| message.priority), Some(Priority::Low));
        let mut odd = FieldTable::default();
        odd.insert(TRACEPARENT.into(), AMQPValue::LongLongInt(7));
        let odd = BasicProperties::default().with_headers(odd);
        let received = message(b"018f2d6e-7c1a-7d3b-8a55-3c9f5be0a7d1", "high", &odd, Priority::Low);
        assert_eq!(received.and_then(|message| message.traceparent), None);
        let long = Message { job: Uuid::nil(), priority: Priority::High, traceparent: Some("x".repeat(9000)) };
        assert!(properties(&long).headers().is_none());
    }
}
