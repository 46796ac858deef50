//! The kind `http`.

use std::collections::BTreeMap;

use kit_http_client::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use kit_http_client::{Allowlist, Request, Url};
use serde::Deserialize;
use serde_json::Value;

/// The request to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    url: String,
    /// GET by default.
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A string is sent as it is, any other value as JSON.
    #[serde(default)]
    body: Option<Value>,
}

/// Headers that the client sets: they determine the destination and the length of the
/// request.
const RESERVED: [HeaderName; 4] = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

impl Payload {
    /// The request.
    ///
    /// # Errors
    /// The payload does not describe a valid request; the error is the reason.
    pub fn request(&self) -> Result<Request, String> {
        let url = Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        let method = method(self.method.as_deref().unwrap_or("GET"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(|error| format!("headers: {error}"))?;
            if RESERVED.contains(&name) {
                return Err(format!("headers: {name} cannot be set"));
            }
            headers.insert(name, HeaderValue::from_str(value).map_err(|error| format!("headers: {error}"))?);
        }
        let body = match &self.body {
            None => Vec::new(),
            Some(Value::String(text)) => text.clone().into_bytes(),
            Some(json) => {
                headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                json.to_string().into_bytes()
            }
        };
        Ok(Request { method, url, headers, body })
    }
}

impl crate::Payload for Payload {
    const KIND: &'static str = "http";

    fn check(&self, allowed_hosts: &Allowlist) -> Result<(), String> {
        let request = self.request()?;
        allowed_hosts.check(&request.url).map_err(|error| format!("url: {error}"))
    }
}

/// Parses a method in upper or lower case. Methods are case-sensitive, and all registered ones are
/// in upper case.
fn method(text: &str) -> Result<Method, String> {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes()).ok().filter(|_| is_name);
    match method.ok_or_else(|| format!("method: {text:?} is not a valid HTTP method"))? {
        // CONNECT opens a tunnel instead of returning a response.
        Method::CONNECT => Err("method: CONNECT is not supported".to_owned()),
        method => Ok(method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_sent_in_capital_letters() {
        for (text, expected) in
            [("post", "POST"), ("Get", "GET"), ("DELETE", "DELETE"), ("version-control", "VERSION-CONTROL")]
        {
            assert_eq!(method(text).unwrap().as_str(), expected);
        }
    }
}
