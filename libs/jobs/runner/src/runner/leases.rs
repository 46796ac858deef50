//! That jobs still run, and whether they are still wanted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jobs_store::Held;
use tokio::time::Instant;
use uuid::Uuid;

use super::Shared;

/// How often leases are extended. Jobs that have run for less than this are not, as
/// most end before.
const INTERVAL: Duration = Duration::from_secs(1);

/// Extends leases until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut next = Instant::now();
    loop {
        next = (next + INTERVAL).max(Instant::now());
        tokio::time::sleep_until(next).await;
        let leases = shared.leases(INTERVAL);
        if leases.is_empty() {
            continue;
        }
        match shared.store().extend(&leases, shared.config.lease.as_millis()).await {
            Ok(held) => {
                let held: HashMap<Uuid, Held> = held.into_iter().map(|held| (held.id, held)).collect();
                for lease in leases {
                    learn(&shared, lease.id, lease.token, held.get(&lease.id));
                }
            }
            Err(error) => shared.failed("extend", &error),
        }
    }
}

fn learn(shared: &Shared, id: Uuid, token: i64, held: Option<&Held>) {
    let running = shared.running();
    let Some(job) = running.get(&id).filter(|job| job.token == token) else { return };
    match held {
        // It may also be done just now: then nobody listens any more.
        None => job.lost.cancel(),
        Some(held) if held.cancel_requested => job.context.cancel(),
        Some(_) => {}
    }
}
