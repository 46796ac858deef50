//! Text: every column that holds text from outside holds every character.

use jobs_core::Event;
use jobs_store::{Claim, NewJob, Statement, Success};

use crate::backend::{Backend, claim, new_job, success};
use crate::on_every_backend;

on_every_backend!(every_text_holds_every_character);

/// Characters of one to four bytes in UTF-8, and those with a meaning in SQL and in patterns.
const TEXT: &str = "a' \"b\" `c` \\ % _ ; -- é 日本 😀 \u{0301}\u{fffd} \0 end ";

async fn every_text_holds_every_character(backend: Backend) {
    let url = "https://example.com/日本?😀='é'";
    let new = NewJob { payload: TEXT.to_owned(), callback_url: Some(url.to_owned()), ..new_job() };
    backend.store.accept(std::slice::from_ref(&new)).await.unwrap();
    let claim = Claim { worker: TEXT, ..claim(1) };
    let row = backend.store.claim(&[new.id], claim).await.unwrap().jobs.remove(0);
    assert_eq!(
        (row.payload.as_str(), row.callback_url.as_deref(), row.worker.as_deref()),
        (TEXT, Some(url), Some(TEXT))
    );

    let retry = Event::Fail { token: 1, delay_ms: 0, permanent: false };
    backend.apply_with_error(new.id, retry, TEXT).await.unwrap();
    assert_eq!(backend.row(new.id).await.error.as_deref(), Some(TEXT));
    let attempt = backend.store.attempts(new.id).await.unwrap().remove(0);
    assert_eq!((attempt.error.as_deref(), attempt.worker.as_deref()), (Some(TEXT), Some(TEXT)));

    backend.apply(new.id, Event::Sweep { delay_ms: 0 }).await.unwrap();
    let row = backend.claim(&[new.id], 2).await.remove(0);
    let effect = Statement::new("INSERT INTO user_requests (job_id, user_id, data) VALUES (?, ?, ?)")
        .bind(new.id)
        .bind(TEXT)
        .bind(TEXT);
    let done = Success { result: TEXT.to_owned(), worker: TEXT.to_owned(), effect: vec![effect], ..success(&row) };
    assert!(backend.store.finish(&[done]).await.remove(0).unwrap());
    assert_eq!(backend.row(new.id).await.result.as_deref(), Some(TEXT));
    let due = backend.store.take_due_callbacks(10, 1000).await.unwrap();
    assert_eq!(due[0].url, url);
    backend.store.record_callback(new.id, Some(TEXT), None).await.unwrap();
    let text = kit_database::mysql::bytes(TEXT.as_bytes());
    for (table, column) in [("callbacks", "error"), ("user_requests", "user_id"), ("user_requests", "data")] {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE HEX({column}) = HEX({text})");
        assert_eq!(backend.number(&sql).await, 1, "{table}.{column}");
    }
}
