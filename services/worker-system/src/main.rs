//! The `worker-system` process.

use std::path::Path;
use std::process::ExitCode;

use kit_process::{App, config};
use kit_web::{http, requests};
use worker_system::config::Config;
use worker_system::index::{self, Entry};
use worker_system::jobs::Jobs;
use worker_system::values::Values;
use worker_system::visits::Visits;

fn main() -> ExitCode {
    kit_process::run("worker-system", Config::common, async |config: Config, app: App| {
        if config.ephemeral {
            let folder = tempfile::tempdir()?;
            return Box::pin(run(&config, folder.path(), app)).await;
        }
        std::fs::create_dir_all(&config.data_dir).map_err(|error| {
            config::invalid("DATA_DIR", format!("cannot create {}: {error}", config.data_dir.display()))
        })?;
        Box::pin(run(&config, &config.data_dir, app)).await
    })
}

async fn run(config: &Config, folder: &Path, mut app: App) -> anyhow::Result<()> {
    let index = http::bind(config.index_listen, "--index-listen or INDEX_LISTEN").await?;
    let values_api = http::bind(config.values_listen, "--values-listen or VALUES_LISTEN").await?;
    let visit_counter = http::bind(config.visits_listen, "--visits-listen or VISITS_LISTEN").await?;
    let main_app = http::bind(config.jobs_listen, "--jobs-listen or JOBS_LISTEN").await?;
    let entries = vec![
        Entry {
            name: "Values",
            what: "Ids that count the seconds, spread over workers.",
            address: values_api.local_addr()?,
        },
        Entry {
            name: "Visits",
            what: "A page that counts its visits: every visitor sees another number.",
            address: visit_counter.local_addr()?,
        },
        Entry {
            name: "Jobs",
            what: "What is accepted is run once, whatever dies meanwhile.",
            address: main_app.local_addr()?,
        },
    ];

    let requests = requests::Metrics::register(&mut app.registry);
    let values = Values::build(config, folder, &mut app, requests.clone())?;
    let jobs = Jobs::build(config, folder, &mut app, requests.clone())?;
    let visits = Visits::build(config, folder, &mut app, requests)?;
    kit_web::admin::start(&mut app).await?;
    announce(&entries, index.local_addr()?, folder);
    let shutdown = app.shutdown.clone();
    let (values, visits, jobs, ()) = tokio::join!(
        values.run(values_api, shutdown.clone()),
        visits.run(visit_counter, shutdown.clone()),
        jobs.run(main_app, shutdown.clone()),
        http::serve(index, index::router(&entries), http::Limits::default(), shutdown),
    );
    values.and(visits).and(jobs)
}

fn announce(entries: &[Entry], index: std::net::SocketAddr, folder: &Path) {
    println!("\n  worker-system    http://{index}/");
    for entry in entries {
        println!("  {:<16} http://{}/", entry.name, entry.address);
    }
    println!("  data             {}\n\n  Ctrl-C stops everything.\n", folder.display());
}
