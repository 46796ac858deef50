//! Events in any order, late, twice and under any token.

use jobs_core::job::PUBLISH_GRACE_MS;
use jobs_core::tables::{Accepted, NewJob, Tables};
use jobs_core::{Event, Job, State, step};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::many;

/// An event under a token that is right, or wrong by one or two.
fn events() -> impl Strategy<Value = (u8, i64, i64, bool)> {
    (0_u8..13, prop_oneof![6 => Just(0_i64), 1 => -2_i64..3], 0_i64..5000, any::<bool>())
}

fn event(job: &Job, (which, off, ms, permanent): (u8, i64, i64, bool)) -> Event {
    let token = job.lease_token + off;
    match which {
        0 => Event::Published { token },
        1 | 2 => Event::Claim { lease_ms: ms },
        3 => Event::Renew { token, lease_ms: ms },
        4 => Event::Succeed { token },
        5 => Event::Fail { token, delay_ms: ms, permanent },
        6 => Event::Release { token, delay_ms: ms },
        7 | 8 => Event::Sweep { delay_ms: ms },
        9 => Event::DeadLettered { delay_ms: ms },
        10 => Event::MessageLost,
        11 => Event::MessageEvicted { delay_ms: ms },
        _ if permanent => Event::Cancel,
        _ => Event::Retry,
    }
}

fn is_consistent(job: &Job) -> bool {
    let waits = matches!(job.state, State::Queued | State::RetryWait);
    (job.state == State::Running) == job.lease_until.is_some()
        // A job that has not ended is either due at some time, or its message is in the
        // broker.
        && (job.state.is_terminal() || job.published) == job.due_at.is_none()
        && (!job.published || job.state == State::Queued)
        && (waits || job.state.is_terminal() || job.attempt >= 1)
        && job.attempt <= job.max_attempts
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn a_job_stays_consistent_under_any_events(
        max_attempts in 1_u32..4, run_at in 0_i64..4000, sequence in vec((events(), 0_i64..3000), 0..60)
    ) {
        let mut now = 1000;
        let mut job = Job::new(max_attempts, run_at, now);
        let (mut applied, mut endings) = (0, 0);
        for (choice, ms) in sequence {
            now += ms;
            let event = event(&job, choice);
            let Some((next, effects)) = step(&job, event, now) else { continue };
            prop_assert!(is_consistent(&next), "{:?} made {:?} of {:?}", event, next, job);
            prop_assert!(next.state == job.state || next.lease_token > job.lease_token, "{:?}: {:?}", event, next);
            prop_assert_eq!(effects.ended, next.state.is_terminal(), "{:?}: {:?}", event, next);
            prop_assert_eq!(effects.apply, next.state == State::Succeeded);
            prop_assert!(!effects.publish || next.state == State::Queued);
            prop_assert!(job.state != State::Succeeded, "{:?} changed a job that had succeeded", event);
            prop_assert!(!job.state.is_terminal() || event == Event::Retry);
            applied += u32::from(effects.apply);
            endings += u32::from(effects.ended);
            job = next;
        }
        prop_assert!(applied <= 1);
        prop_assert!(endings >= applied);
    }

    #[test]
    fn with_a_worker_and_without_faults_every_job_ends(
        max_attempts in 1_u32..5, run_at in 0_i64..100_000, before in vec((events(), 0_i64..3000), 0..30),
        outcomes in vec(0_u8..3, 1..5)
    ) {
        let mut now = 1000;
        let mut job = Job::new(max_attempts, run_at, now);
        for (choice, ms) in before {
            now += ms;
            let event = event(&job, choice);
            if let Some((next, _)) = step(&job, event, now) {
                job = next;
            }
        }
        // From here on nothing is lost: the sweeper handles due jobs, and each message is
        // followed by a claim and an attempt with any outcome.
        for round in 0..200_usize {
            let event = match job.state {
                State::Succeeded | State::Failed | State::Cancelled => break,
                State::Queued if job.published => Event::Claim { lease_ms: 1000 },
                State::Running => match outcomes[round % outcomes.len()] {
                    0 => Event::Succeed { token: job.lease_token },
                    1 => Event::Fail { token: job.lease_token, delay_ms: 10, permanent: false },
                    _ => Event::Sweep { delay_ms: 10 },
                },
                State::Queued | State::RetryWait => Event::Sweep { delay_ms: 10 },
            };
            now = now.max(job.due_at.unwrap_or(now)).max(job.run_at);
            let (next, effects) = step(&job, event, now).expect("it is time");
            job = next;
            if effects.publish && let Some((next, _)) = step(&job, Event::Published { token: job.lease_token }, now) {
                job = next;
            }
        }
        prop_assert!(job.state.is_terminal(), "{:?}", job);
    }

    #[test]
    fn a_key_stands_for_one_request(requests in vec((0_u8..3, 0_u8..2, any::<bool>()), 1..20)) {
        let mut tables = Tables::default();
        let mut first: [Option<(u8, u64)>; 3] = [None; 3];
        for (id, (key, hash, cancel)) in requests.into_iter().enumerate() {
            let id = id as u64;
            let new = NewJob { id, key: Some(key.to_string()), request_hash: [hash; 32], max_attempts: 1, run_at: 0 };
            let accepted = tables.accept(new);
            let known = &mut first[usize::from(key)];
            match *known {
                None => {
                    prop_assert_eq!(accepted, Accepted::New(id));
                    *known = Some((hash, id));
                }
                Some((before, job)) if before == hash => {
                    prop_assert_eq!(accepted, Accepted::Existing(job, tables.jobs[&job].job.state));
                }
                Some(_) => prop_assert_eq!(accepted, Accepted::Conflict),
            }
            if cancel && let Some((_, job)) = *known {
                tables.apply(job, Event::Cancel);
            }
        }
        prop_assert_eq!(tables.jobs.len(), tables.keys.len());
    }
}

#[test]
fn a_job_is_published_when_its_time_has_come_and_not_before() {
    let job = Job::new(1, 5000, 1000);
    assert_eq!(step(&job, Event::Sweep { delay_ms: 0 }, 4999), None);
    assert_eq!(step(&job, Event::Claim { lease_ms: 1 }, 4999), None);
    let (_, effects) = step(&job, Event::Sweep { delay_ms: 0 }, 5000).expect("it is due");
    assert!(effects.publish);
}

#[test]
fn the_sweeper_handles_a_job_at_once_whose_time_has_passed() {
    for run_at in [-62_135_596_800_000, 1, 999, 1000] {
        let job = Job::new(1, run_at, 1000);
        assert_eq!((job.run_at, job.due_at), (1000, Some(1000)), "{run_at}");
    }
    // main-app publishes a job without a start time, and needs some time for it.
    let job = Job::new(1, 0, 1000);
    assert_eq!((job.run_at, job.due_at), (1000, Some(1000 + PUBLISH_GRACE_MS)));
}

#[test]
fn a_released_attempt_does_not_count() {
    let job = Job::new(1, 0, 1000);
    let (job, _) = step(&job, Event::Claim { lease_ms: 10 }, 1000).expect("it waits");
    assert_eq!((job.attempt, job.lease_token), (1, 1));
    let (job, effects) = step(&job, Event::Release { token: 1, delay_ms: 5 }, 1001).expect("it is held");
    assert_eq!((job.state, job.attempt, job.run_at, effects.ended), (State::RetryWait, 0, 1006, false));
}

#[test]
fn a_cancelled_job_may_still_succeed() {
    let job = Job::new(1, 0, 1000);
    let (job, _) = step(&job, Event::Claim { lease_ms: 10 }, 1000).expect("it waits");
    let (job, effects) = step(&job, Event::Cancel, 1001).expect("it runs");
    assert!(job.cancel_requested && !effects.ended);
    let (cancelled, _) = step(&job, Event::Fail { token: 1, delay_ms: 5, permanent: false }, 1002).expect("it is held");
    assert_eq!(cancelled.state, State::Cancelled);
    let (done, _) = step(&job, Event::Succeed { token: 1 }, 1002).expect("it is held");
    assert_eq!(done.state, State::Succeeded);
}
