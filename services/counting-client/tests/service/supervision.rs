//! Background tasks that fail.

use counting_client::{Config, Deps, Metrics};
use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness};
use testkit::{assert_supervised, free_port};

#[tokio::test]
async fn a_task_that_fails_ends_the_service() {
    assert_supervised(&["counting"], async |shutdown| {
        let config = Config {
            server_url: format!("http://127.0.0.1:{}", free_port()).parse().unwrap(),
            interval: HumanDuration(std::time::Duration::ZERO),
            until: None,
            role: None,
        };
        let deps =
            Deps { metrics: Metrics::register(&mut Registry::default()), check: Readiness::default().check("server") };
        counting_client::build(config, deps).run(shutdown).await
    })
    .await;
}
