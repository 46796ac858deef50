//! Schedules callbacks, so that a host that does not answer delays no other. Pure: no I/O, no
//! clock.
//!
//! Callbacks that were taken from the store wait here, because each host gets only a few calls at
//! once. A host whose call gets no answer is *failing*: its callbacks are put off until its backoff
//! has passed. Then one call, the trial, tests whether the host answers again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jobs_runner::Backoff;
use jobs_store::Callback;
use kit_http_client::Url;
use tokio::time::Instant;
use uuid::Uuid;

/// Maximum number of calls at once.
const PLACES: usize = 64;

/// Maximum number of calls at once to failing hosts.
const TRIALS: usize = 16;

/// Maximum number of calls at once to one host.
const PER_HOST: usize = 8;

/// Maximum number of callbacks that wait here for one host. Further ones are put off.
const WAITING: usize = 256;

/// How much later each of those further callbacks is due than the one before, up to
/// [`LONGEST_QUEUE`].
const SPACING: Duration = Duration::from_millis(4);

/// The longest time that a callback is put off because others wait for its host.
const LONGEST_QUEUE: Duration = Duration::from_mins(1);

/// Longest time that a callback waits here. After it, the callback is due again when its lease
/// ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);

/// How long a failing host is left alone, by the number of failures in a row.
const BACKOFF: Backoff = Backoff { initial_ms: 1000, max_ms: 60_000 };

/// Whether the host of a call answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The host answered, with whatever status.
    Answered,
    /// The host did not answer.
    Silence,
    /// The host was not called.
    None,
}

/// A call to make.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) callback: Callback,
    pub(super) host: String,
    /// Whether the call is a trial of a failing host. No other call to the host is in progress.
    is_trial: bool,
}

/// The job of a callback, and the time by which the callback is put off.
pub(super) type PutOff = (Uuid, Duration);

/// All hosts that callbacks wait for, that are called or that are failing.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    by_name: HashMap<String, Host>,
    /// The hosts that callbacks wait for, in the order of their turns.
    turns: VecDeque<String>,
    calls: usize,
    /// Calls that are trials.
    trials: usize,
}

#[derive(Debug, Default)]
struct Host {
    /// Waiting callbacks, each with the time at which it was taken.
    waiting: VecDeque<(Callback, Instant)>,
    calls: usize,
    /// Failures in a row. Calls that overlap count as one.
    failures: u32,
    /// The end of the backoff after the latest failure.
    closed_until: Option<Instant>,
    /// Callbacks that were put off since the last time that none waited.
    put_off: u32,
}

impl Host {
    const fn is_failing(&self) -> bool {
        self.failures > 0
    }

    fn is_closed(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| until > now)
    }

    /// Puts off a callback, unless it may wait here.
    fn put_off(&mut self, now: Instant, random: u64) -> Option<Duration> {
        if self.waiting.is_empty() {
            self.put_off = 0;
        }
        match self.closed_until {
            Some(until) if until > now => Some(until - now),
            // The others wait until the trial has ended.
            Some(_) if self.calls + self.waiting.len() > 0 => Some(backoff(self.failures, random)),
            _ if self.waiting.len() < WAITING => None,
            _ => {
                self.put_off = self.put_off.saturating_add(1);
                Some(SPACING.saturating_mul(self.put_off).min(LONGEST_QUEUE))
            }
        }
    }
}

impl Hosts {
    /// Takes in a callback. Returns the time by which to put it off if it cannot wait here.
    pub(super) fn take(&mut self, callback: Callback, now: Instant, random: u64) -> Option<Duration> {
        let name = host_of(&callback.url);
        let host = self.by_name.entry(name.clone()).or_default();
        let put_off = host.put_off(now, random);
        if put_off.is_none() {
            host.waiting.push_back((callback, now));
            if host.waiting.len() == 1 {
                self.turns.push_back(name);
            }
        }
        put_off
    }

    /// The next call to make, if there is a place for one. Hosts take turns.
    pub(super) fn next(&mut self, now: Instant) -> Option<Call> {
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let call = self.next_of(&name, now);
            if self.by_name.get(&name).is_some_and(|host| !host.waiting.is_empty()) {
                self.turns.push_back(name);
            }
            if call.is_some() {
                return call;
            }
        }
        None
    }

    fn next_of(&mut self, name: &str, now: Instant) -> Option<Call> {
        let host = self.by_name.get_mut(name)?;
        host.waiting.retain(|(_, taken)| now.duration_since(*taken) < PATIENCE);
        let has_place = if host.is_failing() {
            host.calls == 0 && self.trials < TRIALS && !host.is_closed(now)
        } else {
            host.calls < PER_HOST
        };
        if self.calls >= PLACES || !has_place {
            return None;
        }
        let (callback, _) = host.waiting.pop_front()?;
        host.calls += 1;
        self.calls += 1;
        let is_trial = host.is_failing();
        self.trials += usize::from(is_trial);
        Some(Call { callback, host: name.to_owned(), is_trial })
    }

    /// A call has ended. Returns the callbacks to put off: those that wait for the host, if
    /// it did not answer.
    pub(super) fn ended(&mut self, call: &Call, answer: Answer, now: Instant, random: u64) -> Vec<PutOff> {
        let Some(host) = self.by_name.get_mut(&call.host) else { return Vec::new() };
        host.calls -= 1;
        self.calls -= 1;
        self.trials -= usize::from(call.is_trial);
        let mut put_off = Vec::new();
        match answer {
            Answer::None => {}
            Answer::Answered => (host.failures, host.closed_until) = (0, None),
            // It began before the host failed.
            Answer::Silence if host.is_failing() && !call.is_trial => {}
            Answer::Silence => {
                host.failures += 1;
                let delay = backoff(host.failures, random);
                host.closed_until = Some(now + delay);
                put_off.extend(host.waiting.drain(..).map(|(callback, _)| (callback.job, delay)));
                self.turns.retain(|name| *name != call.host);
            }
        }
        self.forget(now);
        put_off
    }

    /// Ends the scheduling. Returns all callbacks that wait.
    pub(super) fn close(self) -> Vec<PutOff> {
        let waiting = self.by_name.into_values().flat_map(|host| host.waiting);
        waiting.map(|(callback, _)| (callback.job, Duration::ZERO)).collect()
    }

    /// Forgets hosts without calls, waiting callbacks or recent failures, so that their number is
    /// bounded.
    fn forget(&mut self, now: Instant) {
        let long_ago = |until: Instant| now.saturating_duration_since(until) > 10 * LONGEST_QUEUE;
        self.by_name.retain(|_, host| {
            host.calls > 0 || !host.waiting.is_empty() || host.closed_until.is_some_and(|until| !long_ago(until))
        });
    }
}

fn backoff(failures: u32, random: u64) -> Duration {
    Duration::from_millis(BACKOFF.delay_ms(failures, random).unsigned_abs())
}

/// The host and port of a URL. URLs that are not valid share one name; they are not called.
fn host_of(url: &str) -> String {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    host.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hosts, and a clock that the test moves.
    struct World {
        hosts: Hosts,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { hosts: Hosts::default(), now: Instant::now() }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }

        /// Takes in `count` callbacks of a host, and returns by how much each is put off.
        fn take(&mut self, host: &str, count: usize) -> Vec<Option<Duration>> {
            let callback = || Callback { job: Uuid::now_v7(), url: format!("http://{host}/"), attempt: 0 };
            (0..count).map(|_| self.hosts.take(callback(), self.now, 0)).collect()
        }

        /// Begins all calls for which there is a place.
        fn calls(&mut self) -> Vec<Call> {
            std::iter::from_fn(|| self.hosts.next(self.now)).collect()
        }

        fn end(&mut self, call: &Call, answer: Answer) -> Vec<PutOff> {
            self.hosts.ended(call, answer, self.now, 0)
        }
    }

    fn of<'a>(calls: &'a [Call], host: &str) -> Vec<&'a Call> {
        calls.iter().filter(|call| call.host.starts_with(host)).collect()
    }

    #[test]
    fn a_host_is_called_a_few_times_at_once_and_the_others_too() {
        let mut world = World::new();
        world.take("slow.test", 64);
        let slow = world.calls();
        assert_eq!(slow.len(), PER_HOST);
        world.take("good.test", 3);
        assert_eq!(of(&world.calls(), "good.test").len(), 3);
        // Places are filled one by one.
        assert_eq!(world.end(&slow[0], Answer::Answered), []);
        assert_eq!(world.calls().len(), 1);
    }

    #[test]
    fn hosts_take_turns() {
        let mut world = World::new();
        for host in 0..20 {
            world.take(&format!("host-{host}.test"), 20);
        }
        let calls = world.calls();
        assert_eq!(calls.len(), PLACES);
        for host in 0..20 {
            assert!(of(&calls, &format!("host-{host}.test")).len() >= 3);
        }
    }

    #[test]
    fn a_host_that_does_not_answer_is_left_alone_as_a_whole() {
        let mut world = World::new();
        world.take("dead.test", 64);
        let calls = world.calls();
        world.pass(Duration::from_secs(30));
        let put_off = world.end(&calls[0], Answer::Silence);
        assert_eq!(put_off.len(), 64 - PER_HOST, "those that wait");
        assert!(put_off.iter().all(|(_, delay)| *delay == backoff(1, 0)));
        // Calls that overlap are one failure.
        for call in &calls[1..] {
            assert_eq!(world.end(call, Answer::Silence), []);
        }
        assert_eq!(world.take("dead.test", 2), [Some(backoff(1, 0)); 2]);
        assert_eq!(world.calls().len(), 0);
        for failures in 2..10 {
            world.pass(backoff(failures - 1, 0));
            // One call tries whether the host answers again; the others wait elsewhere.
            assert_eq!(
                world.take("dead.test", 3),
                [None, Some(backoff(failures - 1, 0)), Some(backoff(failures - 1, 0))]
            );
            let trial = world.calls();
            assert_eq!(trial.len(), 1);
            assert_eq!(world.take("dead.test", 1), [Some(backoff(failures - 1, 0))]);
            world.end(&trial[0], Answer::Silence);
            assert_eq!(world.take("dead.test", 1), [Some(backoff(failures, 0))]);
        }
        world.pass(Duration::from_mins(1));
        assert_eq!(world.take("dead.test", 1), [None]);
        let trial = world.calls();
        world.end(&trial[0], Answer::Answered);
        assert_eq!(world.take("dead.test", 20), vec![None; 20]);
        assert_eq!(world.calls().len(), PER_HOST, "it is like any other host");
        assert_eq!(world.hosts.trials, 0);
    }

    #[test]
    fn a_status_is_an_answer_and_what_was_not_called_is_none() {
        let mut world = World::new();
        world.take("a.test", 20);
        let calls = world.calls();
        world.end(&calls[0], Answer::Answered);
        world.end(&calls[1], Answer::None);
        assert_eq!(world.calls().len(), 2);
        // A call that began before the failure and is answered after it: the host answers.
        world.end(&calls[2], Answer::Silence);
        world.end(&calls[3], Answer::Answered);
        assert_eq!(world.take("a.test", 1), [None]);
    }

    #[test]
    fn hosts_that_do_not_answer_leave_places_for_others() {
        let mut world = World::new();
        for host in 0..100 {
            world.take(&format!("dead-{host}.test"), 1);
        }
        for _ in 0..2 {
            for call in world.calls() {
                world.end(&call, Answer::Silence);
            }
        }
        world.pass(Duration::from_mins(2));
        for host in 0..100 {
            world.take(&format!("dead-{host}.test"), 1);
        }
        assert_eq!(world.calls().len(), TRIALS);
        world.take("good.test", 20);
        assert_eq!(world.calls().len(), PER_HOST);
    }

    #[test]
    fn a_backlog_of_one_host_is_spread_over_time() {
        let mut world = World::new();
        let taken = world.take("busy.test", WAITING + 3);
        assert!(taken[..WAITING].iter().all(Option::is_none));
        assert_eq!(taken[WAITING..], [1, 2, 3].map(|turn| Some(SPACING * turn)));
        assert_eq!(world.take("busy.test", 100_000).last(), Some(&Some(LONGEST_QUEUE)));
        assert_eq!(world.take("other.test", 1), [None]);
        // A callback is not called after its lease may have ended.
        world.pass(PATIENCE);
        assert_eq!(world.calls().len(), 0);
        assert_eq!(world.take("busy.test", 1), [None]);
        assert_eq!(world.calls().len(), 1);
    }

    #[test]
    fn at_the_end_those_that_wait_are_given_back() {
        let mut world = World::new();
        world.take("a.test", PER_HOST + 5);
        world.calls();
        let given_back = world.hosts.close();
        assert_eq!(given_back.len(), 5);
        assert!(given_back.iter().all(|(_, delay)| delay.is_zero()));
    }

    #[test]
    fn hosts_are_forgotten() {
        let mut world = World::new();
        world.take("good.test", 1);
        world.take("dead.test", 1);
        for call in world.calls() {
            world.end(&call, if call.host.starts_with("dead") { Answer::Silence } else { Answer::Answered });
        }
        assert_eq!(world.hosts.by_name.len(), 1);
        world.pass(Duration::from_hours(1));
        world.take("good.test", 1);
        for call in world.calls() {
            world.end(&call, Answer::Answered);
        }
        assert_eq!((world.hosts.by_name.len(), world.hosts.turns.len()), (0, 0));
    }

    #[test]
    fn a_host_is_a_name_with_a_port() {
        for (url, host) in [
            ("http://Example.com/a", "example.com:80"),
            ("https://example.com", "example.com:443"),
            ("http://example.com:8080/", "example.com:8080"),
            ("http://[::1]:80/", "[::1]:80"),
            ("nonsense", ""),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
