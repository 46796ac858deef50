//! The `worker-system` process.

use std::path::Path;
use std::process::ExitCode;

use kit_process::App;
use kit_web::{http, requests};
use worker_system::config::Config;
use worker_system::counting::Counting;
use worker_system::data_folder::DataFolder;
use worker_system::index::{self, Entry};
use worker_system::jobs::Jobs;
use worker_system::part::{Part, Port};
use worker_system::round_robin::RoundRobin;
use worker_system::values::Values;
use worker_system::visits::Visits;

fn main() -> ExitCode {
    kit_process::run("worker-system", Config::common, async |config: Config, app: App| {
        config.settings.manager.check()?;
        if config.ephemeral {
            let folder = tempfile::tempdir()?;
            return Box::pin(run(&config, folder.path(), app)).await;
        }
        let folder = DataFolder::open(&config.data_dir)?;
        Box::pin(run(&config, folder.path(), app)).await
    })
}

async fn run(config: &Config, folder: &Path, mut app: App) -> anyhow::Result<()> {
    let index = Port::bind(config.index_listen, "--index-listen or INDEX_LISTEN").await?;
    let values_api = Port::bind(config.values_listen, "--values-listen or VALUES_LISTEN").await?;
    let visit_counter = Port::bind(config.visits_listen, "--visits-listen or VISITS_LISTEN").await?;
    let main_app = Port::bind(config.jobs_listen, "--jobs-listen or JOBS_LISTEN").await?;
    let round_robin_server =
        Port::bind(config.round_robin_listen, "--round-robin-listen or ROUND_ROBIN_LISTEN").await?;
    let counting_server = Port::bind(config.counting_listen, "--counting-listen or COUNTING_LISTEN").await?;
    let entries = vec![
        Entry { name: "Values", what: "Ids that count seconds, spread over workers.", address: values_api.address() },
        Entry {
            name: "Visits",
            what: "A page that counts its visits. Each visitor sees a number of their own.",
            address: visit_counter.address(),
        },
        Entry {
            name: "Jobs",
            what: "A queue of jobs. Each accepted job runs, even if a process fails meanwhile.",
            address: main_app.address(),
        },
        Entry {
            name: "Round robin",
            what: "Two replicas that take turns of one second, and a client that they serve.",
            address: round_robin_server.address(),
        },
        Entry {
            name: "Counting",
            what: "Two clients that count together by Socket.IO, and a file that misses no number.",
            address: counting_server.address(),
        },
    ];

    let requests = requests::Metrics::register(&mut app.registry);
    let values = Values::build(&config.settings, folder, &mut app, requests.clone());
    let jobs = Jobs::build(&config.settings, folder, &mut app, requests.clone());
    let visits = Visits::build(&config.settings, folder, &mut app, requests.clone())?;
    let round_robin = RoundRobin::build(&config.settings, folder, &mut app, requests.clone());
    let counting = Counting::build(&config.settings, folder, &mut app, requests)?;
    let index_part = Part::new("index", &app.readiness);
    kit_web::admin::start(&mut app).await?;
    let prepared =
        Box::pin(async { tokio::try_join!(values.prepare(), jobs.prepare(), visits.prepare(), round_robin.prepare()) });
    if app.unless_draining(prepared).await?.is_none() {
        return Ok(());
    }
    app.output.push(announcement(&entries, index.address(), folder).as_bytes());
    let shutdown = app.shutdown.clone();
    let (values, visits, jobs, round_robin, counting, index) = tokio::join!(
        values.run(values_api, shutdown.clone()),
        visits.run(visit_counter, shutdown.clone()),
        jobs.run(main_app, shutdown.clone()),
        round_robin.run(round_robin_server, shutdown.clone()),
        counting.run(counting_server, shutdown.clone()),
        index_part.serve(&index, shutdown.clone(), async |listener, shutdown| {
            http::serve(listener, index::router(&entries), http::Limits::default(), shutdown).await;
            Ok(())
        }),
    );
    values.and(visits).and(jobs).and(round_robin).and(counting).and(index)
}

/// The text that an operator at a terminal sees first.
fn announcement(entries: &[Entry], index: std::net::SocketAddr, folder: &Path) -> String {
    let mut lines = vec![format!("\n  worker-system    http://{index}/\n")];
    lines.extend(entries.iter().map(|entry| format!("  {:<16} http://{}/\n", entry.name, entry.address)));
    lines.push(format!("  data             {}\n\n  Ctrl-C stops everything.\n\n", folder.display()));
    lines.concat()
}
