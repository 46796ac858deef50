//! All systems in one database, on every backend.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod backend;
mod operations;
mod schema;
mod upgrade;

use kit_database::Migrations;

/// Every system that keeps data in a database.
static SYSTEMS: [&Migrations; 4] =
    [&jobs_store::MIGRATIONS, &round_robin_store::MIGRATIONS, &values_store::MIGRATIONS, &visits_store::MIGRATIONS];
