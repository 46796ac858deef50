//! The schemas of the systems do not collide in one database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kit_database::{Migrations, Options};
use testkit::on_every_backend;

use crate::SYSTEMS;
use crate::backend::{Backend, Schema};

on_every_backend!(
    no_two_systems_use_the_same_name,
    the_order_of_systems_does_not_matter,
    processes_of_all_systems_start_at_once,
);

/// A new system has to be added to `SYSTEMS`.
#[test]
fn every_system_is_tested_here() {
    let libs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../libs");
    let folders = std::fs::read_dir(&libs).unwrap().map(|entry| entry.unwrap().path());
    let with_migrations = folders.filter(|folder| {
        let mut parts = std::fs::read_dir(folder).into_iter().flatten().flatten();
        parts.any(|part| part.path().join("migrations").is_dir())
    });
    let name = |folder: std::path::PathBuf| folder.file_name().unwrap().to_string_lossy().replace('-', "_");
    let expected: BTreeSet<String> = with_migrations.map(name).collect();
    let tested: BTreeSet<String> = SYSTEMS.iter().map(|system| system.system().to_owned()).collect();
    assert_eq!(tested, expected, "SYSTEMS in tests/one_database/main.rs names each folder of libs with migrations");
}

/// The schema of a system in a database of its own.
async fn alone(backend: &Backend, system: &Migrations) -> Schema {
    let own = backend.another().await;
    own.migrate(system).await;
    own.schema().await
}

/// The schemas of all systems, each in a database of its own, combined.
async fn together(backend: &Backend) -> Schema {
    let mut together = Schema::new();
    for system in SYSTEMS {
        together.append(&mut alone(backend, system).await);
    }
    together
}

async fn no_two_systems_use_the_same_name(backend: Backend) {
    let mut owners = BTreeMap::new();
    for system in SYSTEMS {
        let schema = alone(&backend, system).await;
        assert!(schema.contains_key(&format!("table {}", system.table())), "{schema:?}");
        for name in schema.into_keys() {
            let other = owners.insert(name.clone(), system.system());
            assert_eq!(other, None, "{} makes a {name}, too", system.system());
        }
    }
    assert!(owners.contains_key("table jobs") || owners.contains_key("table values"), "{owners:?}");
}

async fn the_order_of_systems_does_not_matter(backend: Backend) {
    let expected = together(&backend).await;
    // Each system is once the first one, and each pair occurs in both orders.
    let mut order = SYSTEMS;
    for _ in 0..2 {
        for _ in 0..SYSTEMS.len() {
            let shared = backend.another().await;
            for system in order {
                shared.migrate(system).await;
            }
            assert_eq!(shared.schema().await, expected, "{:?}", order.map(Migrations::system));
            order.rotate_left(1);
        }
        order.reverse();
    }
}

/// Three processes of each system start on an empty database.
async fn processes_of_all_systems_start_at_once(backend: Backend) {
    let processes: Vec<_> = (0..3)
        .flat_map(|_| SYSTEMS)
        .map(|system| {
            let database = backend.0.reopen(Options::DEFAULT);
            tokio::spawn(async move { database.prepare(system).await })
        })
        .collect();
    for process in processes {
        process.await.unwrap().unwrap();
    }
    assert_eq!(backend.schema().await, together(&backend).await);
}
