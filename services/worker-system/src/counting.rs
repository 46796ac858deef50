//! The counting system: a server and its two clients.

use std::path::Path;

use counting_core::Role;
use counting_log::Folder;
use kit_process::readiness::Check;
use kit_process::{App, Shutdown};
use kit_web::requests;

use crate::part::{Part, Port, clients_first};
use crate::settings::Settings;

/// The counting system on a folder.
pub struct Counting {
    settings: Settings,
    folder: Folder,
    server: Part,
    server_check: Check,
    server_metrics: counting_server::Metrics,
    clients: [Client; 2],
}

/// One client.
struct Client {
    role: Role,
    part: Part,
    deps: counting_client::Deps,
}

impl Counting {
    /// Builds the system, before the admin listener starts. Nothing happens until it runs.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn build(
        settings: &Settings,
        folder: &Path,
        app: &mut App,
        requests: requests::Metrics,
    ) -> anyhow::Result<Self> {
        let metrics = counting_client::Metrics::register(&mut app.registry);
        let client = |role, part, check| Client {
            role,
            part: Part::new(part, &app.readiness),
            deps: counting_client::Deps { metrics: metrics.clone(), check: app.readiness.check(check) },
        };
        Ok(Self {
            clients: [
                client(Role::Client1, "counting-client: client1", "client1: server"),
                client(Role::Client2, "counting-client: client2", "client2: server"),
            ],
            server: Part::new("counting-server", &app.readiness),
            server_check: app.readiness.check("counting-server: file"),
            server_metrics: counting_server::Metrics::register(&mut app.registry, requests),
            folder: Folder::lock(&folder.join("counting"))?,
            settings: settings.clone(),
        })
    }

    /// Runs until `shutdown` drains and every part has ended: first the clients, whose last numbers
    /// are acknowledged, and then the server.
    ///
    /// # Errors
    /// A part has failed during the drain.
    pub async fn run(self, port: Port, shutdown: Shutdown) -> anyhow::Result<()> {
        let server_url: url::Url = format!("http://{}", port.address()).parse()?;
        let [first, second] = self.clients.map(|client| {
            let mut config = self.settings.counting_client.clone();
            (config.server_url, config.role, config.until) = (server_url.clone(), Some(client.role), None);
            let shutdown = shutdown.clone();
            client.part.run(shutdown, async move |shutdown| {
                Ok(counting_client::build(config.clone(), client.deps.clone()).run(shutdown).await?)
            })
        });
        let clients = async {
            let (first, second) = tokio::join!(first, second);
            first.and(second)
        };
        let start = async |listener, shutdown| {
            let (check, metrics) = (self.server_check.clone(), self.server_metrics.clone());
            let deps = counting_server::Deps::on(self.folder.clone(), check, metrics);
            let config = self.settings.counting_server.clone();
            Ok(counting_server::build(config, deps).run(listener, shutdown).await?)
        };
        Box::pin(clients_first(shutdown, clients, |shutdown| self.server.serve(&port, shutdown, start))).await
    }
}
