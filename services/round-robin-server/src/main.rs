//! The `round-robin-server` process.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kit_database::{Database, DatabaseArgs, InvalidUrl, Options};
use kit_process::{App, Common};
use kit_web::{http, requests};
use round_robin_server::{Config, Deps, Metrics};
use round_robin_store::MySqlStore;

#[derive(Debug, Parser)]
#[command(name = "round-robin-server", version, about = env!("CARGO_PKG_DESCRIPTION"))]
struct Cli {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    database: DatabaseArgs,

    /// Address of the API and the page.
    #[arg(long, env = "LISTEN", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8002)))]
    listen: SocketAddr,

    #[command(flatten)]
    service: Config,
}

/// For requests. The connections are not probed, since requests on a broken connection are repeated.
const REQUESTS: Options = Options { connections: 10, probe: false, acquire_timeout: Duration::from_secs(2) };

/// For the serving loop and the watch, each of which runs one command at a time. A store keeps a
/// connection for each kind of command.
const TURNS: Options = Options { connections: MySqlStore::CONNECTIONS + 2, ..REQUESTS };

/// The connections for turns. A SQLite file has one connection that writes, for everything.
fn for_turns(args: &DatabaseArgs, database: &Database) -> Result<Database, InvalidUrl> {
    match database {
        Database::MySql(_) => args.open(TURNS),
        Database::Sqlite(_) => Ok(database.clone()),
    }
}

fn main() -> ExitCode {
    kit_process::run(
        "round-robin-server",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            let database = cli.database.open(REQUESTS)?;
            let requests = requests::Metrics::register(&mut app.registry);
            let store = |database: &Database| round_robin_store::open(database, cli.service.quantum);
            let deps = Deps {
                store: store(&database),
                turns: store(&for_turns(&cli.database, &database)?),
                check: app.readiness.check("database"),
                metrics: Metrics::register(&mut app.registry, requests),
            };
            let listener = http::bind(cli.listen, "--listen or LISTEN").await?;
            kit_web::admin::start(&mut app).await?;
            let service = round_robin_server::build(cli.service, deps);
            tokio::try_join!(
                async {
                    let migrations = database.prepare(&round_robin_store::MIGRATIONS);
                    app.unless_draining(migrations).await.map_err(anyhow::Error::from)
                },
                async { service.run(listener, app.shutdown.clone()).await.map_err(anyhow::Error::from) },
            )?;
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_settings_fit_together() {
        super::Cli::command().debug_assert();
    }
}
