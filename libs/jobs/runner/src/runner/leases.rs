//! Renews the leases of running jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jobs_store::{HeldLease, Lease};
use kit_batch::Parts;
use tokio::time::Instant;
use uuid::Uuid;

use super::Shared;

/// Interval at which leases are renewed. Jobs that have run for less time are left out,
/// since most end before.
const INTERVAL: Duration = Duration::from_secs(1);

/// Renews leases until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut next = Instant::now();
    loop {
        next = (next + INTERVAL).max(Instant::now());
        tokio::time::sleep_until(next).await;
        let leases = shared.leases(INTERVAL);
        if leases.is_empty() {
            continue;
        }
        renew(&shared, &leases).await;
    }
}

/// Renews leases. If the database refuses some of them, renews the others. The store passes over
/// the rows that others hold locked: these leases are neither renewed nor lost.
async fn renew(shared: &Shared, leases: &[Lease]) {
    let mut parts = Parts::of(leases.len());
    while let Some(part) = parts.next() {
        let leases = &leases[part.clone()];
        match shared.store().renew(leases, shared.config.lease.as_millis()).await {
            Ok(held) => {
                let held: HashMap<Uuid, HeldLease> = held.into_iter().map(|held| (held.id, held)).collect();
                for lease in leases {
                    update(shared, lease.id, lease.token, held.get(&lease.id));
                }
            }
            Err(error) if error.is_transient() => return shared.failed("renew", &error),
            Err(_) if parts.split(&part) => {}
            Err(error) => {
                let job = leases[0].id;
                tracing::warn!(%error, %job, "the database refused to renew a lease, which will expire");
            }
        }
    }
}

/// Cancels the attempt if its lease is lost, or its handler if the job is cancelled.
fn update(shared: &Shared, id: Uuid, token: i64, held: Option<&HeldLease>) {
    let running = shared.running();
    let Some(job) = running.get(&id).filter(|job| job.token == token) else { return };
    match held {
        // The attempt may also have just ended; then nothing listens to the token.
        None => job.lost.cancel(),
        Some(held) if held.cancel_requested => job.context.cancel(),
        Some(_) => {}
    }
}
