//! Reading, cancelling and retrying jobs.

use jobs_core::{Event, State};
use jobs_store::{NewJob, Page};

use crate::backend::{Backend, new_job, success};
use crate::on_every_backend;

on_every_backend!(
    pages_hold_everything_once_newest_first,
    the_overview_counts,
    cancelling_and_retrying,
    cancelling_what_runs_is_a_request
);

async fn pages_hold_everything_once_newest_first(backend: Backend) {
    let mut ids = Vec::new();
    for index in 0..7 {
        let kind = if index % 2 == 0 { "user-request" } else { "http" };
        let job = NewJob { kind: kind.to_owned(), ..new_job() };
        backend.store.accept(std::slice::from_ref(&job)).await.unwrap();
        ids.push(job.id);
    }
    ids.reverse();
    let mut found = Vec::new();
    let mut page = Page { limit: 3, ..Page::default() };
    loop {
        let rows = backend.store.list(&page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.before = Some(last.id);
        found.extend(rows.iter().map(|row| row.id));
    }
    assert_eq!(found, ids);
    backend.apply(ids[1], Event::Cancel).await;
    let of = |state, kind: Option<&str>| Page { state, kind: kind.map(ToOwned::to_owned), limit: 10, before: None };
    let count = async |page: Page| backend.store.list(&page).await.unwrap().len();
    assert_eq!(count(of(Some(State::Cancelled), None)).await, 1);
    assert_eq!(count(of(Some(State::Queued), Some("http"))).await, 2);
    for nothing in ["it's nothing", "é", "日本", "😀", "HTTP", "http ", "http\0", ""] {
        assert_eq!(count(of(None, Some(nothing))).await, 0, "{nothing:?}");
    }
}

async fn the_overview_counts(backend: Backend) {
    assert_eq!(backend.store.overview().await.unwrap().queued, 0);
    let (_, running, succeeded, failed, waits) = (
        backend.job().await,
        backend.running().await,
        backend.running().await,
        backend.running().await,
        backend.running().await,
    );
    backend.store.finish(&[success(&succeeded)]).await.remove(0).unwrap();
    let fail = |permanent| Event::Fail { token: 1, delay_ms: 1000, permanent };
    backend.apply(failed.id, fail(true)).await.unwrap();
    backend.apply(waits.id, fail(false)).await.unwrap();
    let overview = backend.store.overview().await.unwrap();
    assert_eq!((overview.queued, overview.running, overview.retry_wait, overview.failed), (1, 1, 1, 1));
    assert_eq!((overview.recently_accepted, overview.recently_succeeded, overview.recently_failed), (5, 1, 1));
    assert!(overview.oldest_due.is_some_and(|at| at <= overview.now));
    backend.pass(60_000).await;
    let later = backend.store.overview().await.unwrap();
    assert_eq!((later.recently_succeeded, later.recently_failed), (0, 0));
    assert_eq!(backend.row(running.id).await.job.state, State::Running);
}

async fn cancelling_and_retrying(backend: Backend) {
    let id = backend.job().await;
    assert!(backend.apply(id, Event::Cancel).await.unwrap().ended);
    assert_eq!(backend.apply(id, Event::Cancel).await, None);
    assert_eq!(backend.claim(&[id], 1).await, []);
    assert!(backend.row(id).await.ended_at.is_some());
    assert!(backend.apply(id, Event::Retry).await.unwrap().publish);
    let row = backend.row(id).await;
    assert_eq!((row.job.state, row.job.attempt, row.ended_at), (State::Queued, 0, None));
    let row = backend.claim(&[id], 2).await.remove(0);
    backend.store.finish(&[success(&row)]).await.remove(0).unwrap();
    assert_eq!(backend.apply(id, Event::Retry).await, None, "what succeeded is not done again");
}

async fn cancelling_what_runs_is_a_request(backend: Backend) {
    let row = backend.running().await;
    backend.apply(row.id, Event::Cancel).await.unwrap();
    let after = backend.row(row.id).await;
    assert_eq!((after.job.state, after.job.cancel_requested, after.job.lease_token), (State::Running, true, 1));
    let fail = Event::Fail { token: 1, delay_ms: 0, permanent: false };
    assert!(backend.apply_with_error(row.id, fail, "asked to").await.unwrap().ended);
    assert_eq!(backend.row(row.id).await.job.state, State::Cancelled);
}
