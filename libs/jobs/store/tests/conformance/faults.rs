//! Answers of MySQL that get lost: what was asked is asked again.

use std::time::Duration;

use jobs_store::Accepted;
use kit_database::{Database, Options};
use testkit::Proxy;

use crate::backend::{Backend, claim, done, with_key};

const OPTIONS: Options = Options { connections: 8, probe: false, acquire_timeout: Duration::from_secs(20) };

#[tokio::test]
async fn what_was_carried_out_and_not_answered_is_found_when_asked_again() {
    let backend = Backend::mysql("lost").await;
    let proxy = Proxy::to(backend.url()).await;
    // The proxy has to see what passes.
    let url = format!("{}?ssl-mode=disabled", proxy.url(backend.url()));
    let store = jobs_store::open(&Database::open(&url, OPTIONS).unwrap());

    let job = with_key("k");
    proxy.cut_reply_to("INSERT INTO jobs");
    assert!(store.accept(std::slice::from_ref(&job)).await.unwrap_err().is_transient());
    assert_eq!(store.accept(std::slice::from_ref(&job)).await.unwrap(), [Accepted::New(job.id)]);

    proxy.cut_reply_to("lease_owner");
    assert!(store.claim(&[job.id], claim(1)).await.unwrap_err().is_transient());
    let row = store.claim(&[job.id], claim(1)).await.unwrap().remove(0);
    assert_eq!((row.job.attempt, row.job.lease_token), (1, 1));

    proxy.cut_reply_to("INTO user_requests");
    assert!(store.finish(&[done(&row)]).await.remove(0).unwrap_err().is_transient());
    assert!(!store.finish(&[done(&row)]).await.remove(0).unwrap(), "it is no longer to be done");
    assert_eq!(backend.effects(job.id).await, 1);
    proxy.replies_cut(3).await;
}
