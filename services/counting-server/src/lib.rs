//! Socket.IO server for two clients that count together, and never skip a number.
//!
//! [`socket`] passes what clients do to the task of the [`game`], which owns the state machine of
//! `counting-core`. The task [`storing`] owns the file. A number is acknowledged after its line is
//! on disk.

mod api;
mod config;
mod folder;
mod game;
mod live;
mod metrics;
mod page;
mod socket;
mod status;
mod storing;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use counting_log::Folder;
use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};
use kit_web::http::{self, Routes};
use tokio::net::TcpListener;

use crate::game::{Game, Player};
use crate::live::{Live, Rates};
use crate::socket::Gate;
use crate::status::Statuses;

pub use crate::config::Config;
pub use crate::folder::lock;
pub use crate::metrics::Metrics;
pub use crate::storing::{BoxedDisk, OpenDisk};

/// Time for the last append after the last request.
const LAST_APPEND: Duration = Duration::from_secs(3);

/// The dependencies of counting-server.
pub struct Deps {
    /// The locked folder of the file.
    pub folder: Folder,
    /// Opens the file in the folder.
    pub open_disk: OpenDisk,
    /// Readiness check: passes while numbers can be stored.
    pub check: Check,
    /// Metrics of counting-server.
    pub metrics: Metrics,
}

impl Deps {
    /// Dependencies on a folder.
    #[must_use]
    pub fn on(folder: Folder, check: Check, metrics: Metrics) -> Self {
        let disks = folder.clone();
        let open_disk: OpenDisk = Arc::new(move || Ok(Box::new(disks.disk()?) as BoxedDisk));
        Self { folder, open_disk, check, metrics }
    }
}

/// The service, ready to run.
pub struct Service {
    config: Config,
    open_disk: OpenDisk,
    metrics: Metrics,
    statuses: Statuses,
    rates: Rates,
    state: api::State,
    sockets: Router,
    player: Player,
    storing: storing::Worker,
    snapshots: live::Reader<live::Snapshot>,
}

/// Builds the service. Nothing happens until it [runs](Service::run).
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    let Deps { folder, open_disk, check, metrics } = deps;
    let (statuses, rates) = (Statuses::default(), Rates::default());
    let (game, inputs) = Game::new();
    let presences = socket::presence::Presences::default();
    let origins = config.cors_origins.clone().into();
    let filter = Gate { presences: presences.clone(), statuses: statuses.clone(), origins };
    let (io, sockets) = socket::server(&game, filter);
    let (store, storing) = storing::new();
    let player = Player { inputs, store, statuses: statuses.clone(), check, metrics: metrics.clone(), presences, io };
    let (live, snapshots) = Live::new(live::SETTINGS);
    let state = api::State { folder, statuses: statuses.clone(), live };
    Service { config, open_disk, metrics, statuses, rates, state, sockets, player, storing, snapshots }
}

impl Service {
    /// All routes, with the middleware of every public listener. Requests of Socket.IO wait for
    /// events, and take no place from those that do not.
    pub fn router(&self) -> Router {
        let cors = socket::Origins::from(self.config.cors_origins.clone()).layer();
        let quick = api::router(self.state.clone()).merge(page::router(self.state.clone())).layer(cors.clone());
        let routes = Routes::from(quick).waiting(self.sockets.clone().layer(cors));
        http::harden(routes, &self.config.limits, Some(&self.metrics.requests))
    }

    /// Counts until `shutdown` drains. Then acknowledges what is being stored, and closes all
    /// connections, so that clients connect again.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let router = self.router();
        let tasks = Tasks::new(&shutdown);
        let Self { config, open_disk, metrics, statuses, rates, player, storing, snapshots, .. } = self;
        let storing = tasks.spawn("storing", storing.run(open_disk, statuses.clone(), metrics));
        tasks.spawn("rates", rates.clone().run(statuses.clone()));
        tasks.spawn("snapshots", snapshots.run(live::Count { statuses, rates }, shutdown.clone()));
        let game = tasks.spawn("game", player.run(shutdown.clone()));
        http::serve(listener, router, config.limits, shutdown.clone()).await;
        tokio::select! {
            _ = async { tokio::join!(game.ended(), storing.ended()) } => {}
            () = tokio::time::sleep(LAST_APPEND) => {}
            () = shutdown.aborted() => {}
        }
        tasks.finish()
    }
}
