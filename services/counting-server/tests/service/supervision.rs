//! Each background task panics: the service notices, names the task and ends.

use kit_process::Readiness;
use kit_process::prometheus_client::registry::Registry;
use testkit::assert_supervised;
use tokio::net::TcpListener;

use crate::server::{config, deps};

#[tokio::test]
async fn a_task_that_panics_ends_the_service() {
    let folder = testkit::Folder::new("supervision");
    assert_supervised(&["game", "rates", "snapshots", "storing"], async |shutdown| {
        let deps = deps(folder.path(), &Readiness::default(), &mut Registry::default()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        counting_server::build(config(), deps).run(listener, shutdown).await
    })
    .await;
}
