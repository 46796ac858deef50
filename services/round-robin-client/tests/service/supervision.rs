//! Background tasks that fail.

use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness};
use round_robin_client::{Config, Deps, Metrics};
use testkit::assert_supervised;

use crate::server::{Server, sqlite};

/// Runs a server until the other end of `ended` is dropped.
#[tokio::main(flavor = "current_thread")]
async fn serve(address: &std::sync::mpsc::Sender<String>, ended: tokio::sync::oneshot::Receiver<()>) {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    address.send(server.url()).unwrap();
    // An error means that the test is over.
    let _ = ended.await;
}

#[tokio::test]
async fn a_task_that_fails_ends_the_service() {
    // The server runs on a thread of its own, where its tasks do not count as those of the service.
    let (address, server) = std::sync::mpsc::channel();
    let (_end, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || serve(&address, ended));
    let url = server.recv().unwrap();
    assert_supervised(&["answers", "messages", "readiness", "session"], async |shutdown| {
        let config = Config {
            server_url: url.parse().unwrap(),
            client_id: "ada".to_owned().try_into().unwrap(),
            interval: HumanDuration(std::time::Duration::from_millis(10)),
            message: "message {counter}".parse().unwrap(),
        };
        let deps =
            Deps { metrics: Metrics::register(&mut Registry::default()), check: Readiness::default().check("server") };
        round_robin_client::build(config, deps).run(shutdown).await
    })
    .await;
}
