//! Extractors that reject with problem documents.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Problem;

const JSON: &str = "application/json";

const FORM: &str = "application/x-www-form-urlencoded";

/// The largest body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// Number of bytes of an oversized body that are read and dropped before the response. If
/// the server closed the connection while the client still sends, the response would be
/// lost.
const MAX_DISCARD: usize = 64 * 1024 * 1024;

/// Time limit for a client to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body of at most [`MAX_BODY`] bytes.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(&request)?;
        parse(&receive(request).await?).map(Self)
    }
}

/// A JSON body of at most [`MAX_BODY`] bytes, or none. An empty body counts as none,
/// whatever its content type: clients send one with each request.
#[derive(Debug)]
pub struct OptionalJson<T>(pub Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = require_json(&request);
        let body = receive(request).await?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        is_json?;
        parse(&body).map(|value| Self(Some(value)))
    }
}

/// A body of at most [`MAX_BODY`] bytes: a JSON object, or the fields of a form
/// (`application/x-www-form-urlencoded`).
#[derive(Debug)]
pub struct JsonOrForm<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonOrForm<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        match content_type(&request).to_ascii_lowercase().as_str() {
            JSON => parse_object(&receive(request).await?).map(Self),
            FORM => parse_form(receive(request).await?).await.map(Self),
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send JSON or a form, with the header Content-Type: application/json or \
                 application/x-www-form-urlencoded.",
            )),
        }
    }
}

/// An empty body; any other is rejected.
#[derive(Debug)]
pub struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self);
        }
        match receive(request).await? {
            body if body.is_empty() => Ok(Self),
            _ => Err(Problem::new(StatusCode::BAD_REQUEST, "Send no body: this takes none.")),
        }
    }
}

fn require_json(request: &Request) -> Result<(), Problem> {
    if content_type(request).eq_ignore_ascii_case(JSON) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send JSON with the header Content-Type: application/json."))
}

/// The media type of the body, without its parameters.
fn content_type(request: &Request) -> &str {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

async fn receive(request: Request) -> Result<Vec<u8>, Problem> {
    let expects_continue = request.headers().contains_key(header::EXPECT);
    if expects_continue && content_length(&request).is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    tokio::time::timeout(BODY_TIMEOUT, read(request.into_body()))
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time."))?
}

fn content_length(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body may have at most {MAX_BODY} bytes."))
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The body broke off."))?;
        length += chunk.len();
        if length > MAX_DISCARD {
            break;
        }
        if length <= MAX_BODY {
            bytes.extend_from_slice(&chunk);
        }
    }
    if length > MAX_BODY { Err(too_large()) } else { Ok(bytes) }
}

/// Parses a body. An error names the field with its path, such as `jobs[1].run_at`.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| malformed(field::<T>(body).as_deref(), &error))
}

/// The path of the field that is at fault; `None` if that is the whole body. Records every path on
/// the way, which costs as much as the parsing itself.
fn field<T: DeserializeOwned>(body: &[u8]) -> Option<String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let error = serde_path_to_error::deserialize::<_, T>(&mut json).err()?;
    Some(error.path().to_string()).filter(|path| path != ".")
}

/// Parses a body that is an object. serde would also take the fields as a list.
fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::unprocessable("The body is a list. Send an object."));
    }
    parse(body)
}

fn malformed(field: Option<&str>, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    match (error.classify(), field) {
        (Category::Data, Some(field)) => Problem::unprocessable(format!("{field}: {error}")),
        (Category::Data, None) => Problem::unprocessable(error.to_string()),
        _ => Problem::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {error}")),
    }
}

/// Parses the fields of a form. Refuses bytes that are not UTF-8, since axum would replace them.
async fn parse_form<T: DeserializeOwned>(body: Vec<u8>) -> Result<T, Problem> {
    if std::str::from_utf8(&percent_decoded(&body)).is_err() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "The form is not UTF-8."));
    }
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
    axum::Form::from_request(request, &())
        .await
        .map(|axum::Form(value)| value)
        .map_err(|error: FormRejection| Problem::new(error.status(), error.body_text()))
}

/// The bytes that `text` stands for.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |index: usize| text.get(index).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut index = 0;
    while index < text.len() {
        let escaped = if text[index] == b'%' { digit(index + 1).zip(digit(index + 2)) } else { None };
        let (byte, length) = match escaped {
            Some((high, low)) => (u8::try_from(high * 16 + low).unwrap_or_default(), 3),
            None => (text[index], 1),
        };
        bytes.push(byte);
        index += length;
    }
    bytes
}

/// The query string, read into `T`.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// An empty query string; any parameter is rejected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|error: QueryRejection| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))
    }
}

/// The parameters in the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Jobs {
        jobs: Vec<Job>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Job {
        kind: Option<String>,
        attempts: u8,
    }

    #[test]
    fn an_error_names_the_field_with_its_path() {
        let Jobs { jobs } = parse(br#" {"jobs": [{"attempts": 255, "kind": "\u0061"}]} "#).unwrap();
        assert_eq!((jobs[0].attempts, jobs[0].kind.as_deref()), (255, Some("a")));
        for (body, status, detail) in [
            (
                r#"{"jobs": [{"attempts": 1}, {"attempts": 256}]}"#.as_bytes(),
                422,
                "jobs[1].attempts: invalid value: integer `256`, expected u8 at line 1 column 43",
            ),
            (br#"{"jobs": [{"kind": "a"}]}"#, 422, "jobs[0]: missing field `attempts` at line 1 column 23"),
            (
                br#"{"jobs": [{"attempts": 1, "attempts": 1}]}"#,
                422,
                "jobs[0]: duplicate field `attempts` at line 1 column 36",
            ),
            (
                b"{\"jobs\":\n[{\"kind\": [1]}]}",
                422,
                "jobs[0].kind: invalid type: sequence, expected a string at line 2 column 10",
            ),
            (b"{\"Jobs\": []}", 422, "Jobs: unknown field `Jobs`, expected `jobs` at line 1 column 7"),
            (b"5", 422, "invalid type: integer `5`, expected struct Jobs at line 1 column 1"),
            (b"{\"jobs\": [}", 400, "The body is not JSON: expected value at line 1 column 11"),
            (b"{\"jobs\": []} x", 400, "The body is not JSON: trailing characters at line 1 column 14"),
            (
                b"{\"jobs\": [{\"kind\": \"\xff\"}]}",
                400,
                "The body is not JSON: invalid unicode code point at line 1 column 21",
            ),
            (b"", 400, "The body is not JSON: EOF while parsing a value at line 1 column 0"),
        ] {
            let problem = serde_json::to_value(parse::<Jobs>(body).unwrap_err()).unwrap();
            let text = String::from_utf8_lossy(body);
            assert_eq!((&problem["status"], &problem["detail"]), (&status.into(), &detail.into()), "{text}");
        }
    }
}
