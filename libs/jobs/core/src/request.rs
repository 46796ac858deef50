//! Whether two requests are the same.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::types::Priority;

/// A request for a job, as far as it decides what is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// What to do.
    pub kind: &'a str,
    /// With what.
    pub payload: &'a Value,
    /// How urgently.
    pub priority: Priority,
    /// Not before this moment, if the client asked for one.
    pub run_at: Option<i64>,
    /// How often at most, if the client asked for it.
    pub max_attempts: Option<u32>,
    /// Who is called when it has ended.
    pub callback_url: Option<&'a str>,
}

impl Request<'_> {
    /// The same for the same request, whatever the order of the fields and the
    /// spaces of its payload; different otherwise.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        part(&mut hash, self.kind.as_bytes());
        value(&mut hash, self.payload);
        part(&mut hash, self.priority.name().as_bytes());
        part(&mut hash, optional(self.run_at).as_bytes());
        part(&mut hash, optional(self.max_attempts).as_bytes());
        part(&mut hash, optional(self.callback_url).as_bytes());
        hash.finalize().into()
    }
}

fn optional(it: Option<impl ToString>) -> String {
    it.map(|it| format!("={}", it.to_string())).unwrap_or_default()
}

/// With its length, so that nothing runs into what follows.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn value(hash: &mut Sha256, it: &Value) {
    match it {
        Value::Array(items) => {
            part(hash, b"[");
            hash.update((items.len() as u64).to_be_bytes());
            for item in items {
                value(hash, item);
            }
        }
        Value::Object(fields) => {
            part(hash, b"{");
            hash.update((fields.len() as u64).to_be_bytes());
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            for (name, field) in fields {
                part(hash, name.as_bytes());
                value(hash, field);
            }
        }
        // Null, booleans and numbers never look like a string, which has its quotes.
        simple => part(hash, simple.to_string().as_bytes()),
    }
}
