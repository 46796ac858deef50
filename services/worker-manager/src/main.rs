//! The `worker-manager` process.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use kit_database::{DatabaseArgs, Options};
use kit_process::{App, Common};
use worker_manager::scaler::Scaler;
use worker_manager::scaler::kubernetes::KubernetesScaler;
use worker_manager::{Deps, Metrics};

/// Hands ids to workers and scales their Deployment.
#[derive(Debug, Parser)]
#[command(name = "worker-manager", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    manager: worker_manager::Config,
    /// The platform that starts and stops workers.
    #[arg(long, env = "SCALER", value_enum, default_value = "none")]
    scaler: ScalerKind,
    /// The Deployment of the workers, in the manager's own namespace.
    #[arg(long, env = "WORKER_DEPLOYMENT", default_value = "worker")]
    worker_deployment: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ScalerKind {
    None,
    Kubernetes,
}

/// One connection for the passes, one to release the lease in the middle of a pass.
const OPTIONS: Options = Options { connections: 2, probe: false, ..Options::DEFAULT };

fn main() -> ExitCode {
    kit_process::run(
        "worker-manager",
        |cli: &Cli| cli.common.clone(),
        async |cli: Cli, mut app: App| {
            cli.manager.check()?;
            let database = cli.database.open(OPTIONS)?;
            let scaler: Option<Arc<dyn Scaler>> = match cli.scaler {
                ScalerKind::None => None,
                ScalerKind::Kubernetes => {
                    Some(Arc::new(KubernetesScaler::new(kube::Client::try_default().await?, &cli.worker_deployment)))
                }
            };
            let deps = Deps {
                store: values_store::open(&database),
                scaler,
                metrics: Metrics::register(&mut app.registry),
                check: app.readiness.check("database"),
            };
            kit_web::admin::start(&mut app).await?;
            if app.unless_draining(database.prepare(&values_store::MIGRATIONS)).await?.is_some() {
                worker_manager::build(cli.manager, deps).run(app.shutdown.clone()).await?;
            }
            Ok(())
        },
    )
}
