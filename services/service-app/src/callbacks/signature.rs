//! The signature of a callback.

use ring::hmac;

/// Returns `t=<Unix time in seconds>,v1=<HMAC-SHA256 of "<t>.<body>" in hexadecimal>`.
pub(super) fn sign(key: &hmac::Key, seconds: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let tag: Vec<String> = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={}", tag.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let signature = sign(&key, 1_700_000_000, b"{}");
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(signature, "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163");
    }
}
