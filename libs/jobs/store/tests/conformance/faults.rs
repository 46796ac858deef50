//! Lost answers of the database: requests are repeated.

use std::time::Duration;

use jobs_store::Accepted;
use kit_database::{Database, Options};
use testkit::Proxy;

use crate::backend::{Backend, claim, success, with_key};

const OPTIONS: Options = Options { connections: 8, probe: false, acquire_timeout: Duration::from_secs(20) };

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
