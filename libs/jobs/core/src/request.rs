//! The hash of a request.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::types::Priority;

/// The fields of a request that decide what the job does.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// Kind of the job.
    pub kind: &'a str,
    /// Payload of the job.
    pub payload: &'a Value,
    /// Priority of the job.
    pub priority: Priority,
    /// Time before which the job does not start, if the client set one.
    pub run_at: Option<i64>,
    /// Highest number of attempts, if the client set one.
    pub max_attempts: Option<u32>,
    /// URL that is called when the job has ended.
    pub callback_url: Option<&'a str>,
}

impl Request<'_> {
    /// The SHA-256 of the request. Requests whose payloads differ only in whitespace
    /// or in the order of fields have the same hash.
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

/// The idempotency keys and hashes of the jobs of a batch that was submitted under `key`, given
/// the hashes of the jobs. The hash of each job covers the whole batch, so a batch that
/// differs in any job conflicts with this one in every job.
#[must_use]
pub fn batch(key: &str, jobs: &[[u8; 32]]) -> Vec<(String, [u8; 32])> {
    // A digest, because the column of keys is only as long as the longest key of a client.
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let key = digest.iter().fold(String::from("batch:"), |key, byte| key + &format!("{byte:02x}"));
    let mut hash = Sha256::new();
    part(&mut hash, b"batch");
    for job in jobs {
        part(&mut hash, job);
    }
    let hash: [u8; 32] = hash.finalize().into();
    (0..jobs.len()).map(|index| (format!("{key}:{index}"), hash)).collect()
}

fn optional(it: Option<impl ToString>) -> String {
    it.map(|it| format!("={}", it.to_string())).unwrap_or_default()
}

/// Hashes the length and the bytes, so that adjacent parts cannot be confused.
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
        // Null, booleans and numbers never equal a string, which is quoted.
        simple => part(hash, &serde_json::to_vec(simple).expect("a value is JSON")),
    }
}
