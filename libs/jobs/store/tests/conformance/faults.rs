//! Lost answers of the database: requests are repeated.

use jobs_core::State;
use jobs_core::job::Event;
use jobs_store::{Accepted, JobEvent, NewJob, apply};
use kit_database::sqlx::raw_sql;
use kit_database::{Database, Options};
use testkit::{Proxy, eventually};

use crate::backend::{Backend, SOON, claim, new_job, success, with_key};

const OPTIONS: Options = Options { connections: 8, probe: false, acquire_timeout: SOON };

#[tokio::test]
async fn a_request_whose_answer_was_lost_may_be_repeated() {
    let backend = Backend::mysql("lost").await;
    let proxy = Proxy::to(backend.url()).await;
    // The proxy has to read the requests.
    let url = format!("{}?ssl-mode=disabled", proxy.url(backend.url()));
    let store = jobs_store::open(&Database::open(&url, OPTIONS).unwrap());

    let job = with_key("k");
    proxy.cut_reply_to("INSERT INTO jobs");
    assert!(store.accept(std::slice::from_ref(&job)).await.unwrap_err().is_transient());
    assert_eq!(store.accept(std::slice::from_ref(&job)).await.unwrap(), [Accepted::New(job.id)]);

    proxy.cut_reply_to("lease_owner");
    assert!(store.claim(&[job.id], claim(1)).await.unwrap_err().is_transient());
    let row = store.claim(&[job.id], claim(1)).await.unwrap().jobs.remove(0);
    assert_eq!((row.job.attempt, row.job.lease_token), (1, 1));

    proxy.cut_reply_to("INTO user_requests");
    assert!(store.finish(&[success(&row)]).await.remove(0).unwrap_err().is_transient());
    assert!(!store.finish(&[success(&row)]).await.remove(0).unwrap(), "it was committed before");
    assert_eq!(backend.effects(job.id).await, 1);
    proxy.replies_cut(3).await;
}

/// The server executes the rest of a script although the client has gone.
#[tokio::test]
async fn a_change_whose_connection_breaks_is_written_as_a_whole() {
    let backend = Backend::mysql("broken").await;
    let job = NewJob { callback_url: Some("http://example.com/".to_owned()), ..new_job() };
    backend.store.accept(std::slice::from_ref(&job)).await.unwrap();
    // Makes an update wait until this user releases a lock.
    let mut user = backend.user().await;
    raw_sql("DO GET_LOCK(DATABASE(), 0)").execute(&mut user).await.unwrap();
    let wait = "CREATE TRIGGER waits BEFORE UPDATE ON jobs FOR EACH ROW SET @waited = GET_LOCK(DATABASE(), 60)";
    backend.sql(wait).await;

    let proxy = Proxy::to(backend.url()).await;
    let store = jobs_store::open(&Database::open(&proxy.url(backend.url()), OPTIONS).unwrap());
    let cancel = JobEvent::new(job.id, Event::Cancel);
    let changing = tokio::spawn(async move { apply(store.as_ref(), &[cancel]).await.map(drop) });
    let sessions = "FROM information_schema.processlist WHERE db = DATABASE() AND";
    let waiting = format!("SELECT COUNT(*) {sessions} state = 'User lock'");
    eventually(SOON, "the update to wait", async || (backend.number(&waiting).await == 1).then_some(())).await;
    proxy.reset();
    changing.await.unwrap().unwrap_err();
    raw_sql("DO RELEASE_LOCK(DATABASE())").execute(&mut user).await.unwrap();

    eventually(SOON, "the change", async || (backend.row(job.id).await.job.state == State::Cancelled).then_some(()))
        .await;
    assert_eq!(backend.number("SELECT COUNT(*) FROM callbacks").await, 1);
}
