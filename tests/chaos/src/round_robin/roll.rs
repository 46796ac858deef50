//! Replicas are rolled one after the other while clients lose their connections.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use round_robin_protocol::{ClientFrame, ServerFrame};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::cluster::{Cluster, DEADLINE, QUANTUM};
use super::record::{Answer, Place, Record, text_of};
use super::service::Endpoints;
use super::wire::{Hello, Incoming, Link};
use super::{Options, judge};
use crate::faults::lock;
use crate::report::Report;
use crate::rng::Rng;
use crate::stats::percentile;

/// Number of replicas and of clients.
const REPLICAS: usize = 3;
const CLIENTS: usize = 200;

/// Time between two disconnects.
const PAUSE: Duration = Duration::from_millis(10);

/// Time from the end of a process to the start of the next one, as for pods of Kubernetes.
const POD: Duration = Duration::from_secs(2);

/// Time between an answer and the next message.
const IDLE: Duration = Duration::from_millis(200);

/// Pause before a client tries again to connect.
const RETRY: Duration = Duration::from_millis(20);

/// Largest time beyond one turn from the beginning of a reconnect to the next answer, at p99.
const BEYOND: Duration = Duration::from_millis(100);

/// Times of all clients.
#[derive(Debug, Default)]
struct Times {
    /// When connections were lost.
    lost: Mutex<Vec<Instant>>,
    /// When clients were connected again.
    back: Mutex<Vec<Instant>>,
}

/// Runs this part.
pub(super) async fn run(options: &Options, mut rng: Rng, report: &mut Report) -> Result<()> {
    let logs = options.logs.join("roll");
    let cluster = Cluster::start(&options.programs, &logs, REPLICAS, false).await?;
    println!("round-robin: {CLIENTS} clients are disconnected {} times while replicas roll", options.disconnects);
    let times = Arc::new(Times::default());
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    let mut cuts = Vec::new();
    for number in 1..=CLIENTS {
        let (cut, inbox) = mpsc::unbounded_channel();
        let client = Client {
            record: Record::new(&format!("client-{number}")),
            endpoints: Arc::clone(&cluster.endpoints),
            cuts: inbox,
            stop: stopped.clone(),
            times: Arc::clone(&times),
            answered: 0,
            is_reconnecting: false,
            since: None,
        };
        clients.spawn(client.run());
        cuts.push(cut);
        // Not all at once.
        tokio::time::sleep(PAUSE).await;
    }

    let began = Instant::now();
    // In the first fifth, nothing is rolled: its rate of reconnects is the steady one.
    disconnect(&times, &cuts, options.disconnects / 5, &mut rng).await;
    let rolling = Instant::now();
    let rolled = async {
        let mut rolls = 0;
        while lock(&times.lost).len() < options.disconnects {
            for replica in &cluster.replicas {
                cluster.terminate(replica).await;
                tokio::time::sleep(POD).await;
                replica.member.start();
                cluster.back(replica).await;
                rolls += 1;
            }
        }
        rolls
    };
    let disconnected = disconnect(&times, &cuts, options.disconnects, &mut rng);
    let (rolls, ()) = tokio::join!(rolled, disconnected);
    let ended = Instant::now();
    stop.send_replace(true);
    let mut records = Vec::new();
    while let Some(ended) = tokio::time::timeout(DEADLINE, clients.join_next()).await.context("the last answers")? {
        records.push(ended?);
    }
    let unasked = cluster.unasked_ends();
    cluster.stop().await;

    report.section(format!(
        "Part 3: {CLIENTS} clients, {REPLICAS} replicas rolled one after the other, seed {}",
        options.seed
    ));
    report.told("disconnects, replicas rolled", format!("{}, {rolls}", lock(&times.lost).len()));
    report.told(
        "seconds, of which rolling",
        format!("{:.1}, {:.1}", (ended - began).as_secs_f64(), (ended - rolling).as_secs_f64()),
    );
    report.nothing("processes that ended by themselves", &unasked, unasked.len() as u64);
    let mut delays: Vec<Duration> = records.iter().flat_map(|record| record.delays.iter().copied()).collect();
    let (_, table) = judge::judge(&cluster, report).await?;
    judge::report_records(report, records, &table);
    delays.sort_unstable();
    report_delays(report, options, &delays);
    let back = lock(&times.back).clone();
    report_rates(report, options, &back, began..rolling, rolling..ended);
    if !report.is_ok() {
        cluster.keep_binlogs(&logs)?;
    }
    Ok(())
}

/// Cuts connections until `count` were lost, for any reason.
async fn disconnect(times: &Times, cuts: &[mpsc::UnboundedSender<bool>], count: usize, rng: &mut Rng) {
    let mut pace = tokio::time::interval(PAUSE);
    while lock(&times.lost).len() < count {
        pace.tick().await;
        let within = rng.below(2) == 0;
        if let Some(cut) = rng.pick(cuts) {
            // Fails only if the client has panicked, which the end of its task tells.
            let _ = cut.send(within);
        }
    }
}

fn report_delays(report: &mut Report, options: &Options, sorted: &[Duration]) {
    let limit = Duration::from_millis(QUANTUM.as_millis().unsigned_abs()) + BEYOND;
    let p99 = percentile(sorted, 99);
    let counted = p99.map_or("-".to_owned(), |p99| format!("{:.3} s", p99.as_secs_f64()));
    let wanted = format!("≤ {:.1} s", limit.as_secs_f64());
    if options.short {
        report.not_judged("  p99 (not judged in a short run)", counted, wanted);
    } else {
        report.judged("  p99", counted, wanted, p99.is_some_and(|p99| p99 <= limit));
    }
}

fn report_rates(
    report: &mut Report,
    options: &Options,
    back: &[Instant],
    calm: std::ops::Range<Instant>,
    rolling: std::ops::Range<Instant>,
) {
    let within = |range: &std::ops::Range<Instant>| {
        let mut times: Vec<Instant> = back.iter().filter(|at| range.contains(at)).copied().collect();
        times.sort_unstable();
        times
    };
    let steady = float(within(&calm).len()) / (calm.end - calm.start).as_secs_f64();
    let (calm_peak, peak) = (busiest_second(&within(&calm)), busiest_second(&within(&rolling)));
    let mean = float(within(&rolling).len()) / (rolling.end - rolling.start).as_secs_f64();
    report.told("reconnects a second, nothing rolled: mean, peak", format!("{steady:.1}, {calm_peak}"));
    report.told("reconnects a second while rolling: mean, peak", format!("{mean:.1}, {peak}"));
    let ratio = float(peak) / steady;
    if options.short {
        report.not_judged("  peak ÷ steady (not judged in a short run)", format!("{ratio:.2}"), "≤ 2");
    } else {
        report.judged("  peak ÷ steady", format!("{ratio:.2}"), "≤ 2", ratio <= 2.0);
    }
}

/// Largest number of sorted times within a second.
fn busiest_second(sorted: &[Instant]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (index, time) in sorted.iter().enumerate() {
        while *time - sorted[first] >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(index + 1 - first);
    }
    most
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A client that sends one message after the other, and whose connections are cut.
struct Client {
    record: Record,
    endpoints: Arc<Endpoints>,
    /// Whether to cut in the middle of a frame.
    cuts: mpsc::UnboundedReceiver<bool>,
    stop: watch::Receiver<bool>,
    times: Arc<Times>,
    /// The highest counter whose answer it has.
    answered: i64,
    /// Whether it was connected before.
    is_reconnecting: bool,
    /// Since when it could connect again; `None` once it has an answer after that.
    since: Option<Instant>,
}

/// How a connection ends.
enum End {
    /// The run has stopped the client.
    Done,
    /// The client may connect again at this time.
    Lost(Instant),
}

impl Client {
    async fn run(mut self) -> Record {
        loop {
            let Ok((link, next)) = self.connect().await else {
                self.record.count("connects that failed");
                tokio::time::sleep(RETRY).await;
                continue;
            };
            if self.is_reconnecting {
                lock(&self.times.back).push(Instant::now());
            }
            // Cuts that came before are over.
            while self.cuts.try_recv().is_ok() {}
            let End::Lost(until) = self.converse(link, next).await else { return self.record };
            lock(&self.times.lost).push(Instant::now());
            self.is_reconnecting = true;
            if until > Instant::now() {
                tokio::time::sleep_until(until.into()).await;
                self.since = None;
            }
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Connects to a replica that is ready. Returns the next counter to send, too.
    async fn connect(&mut self) -> Result<(Link, i64)> {
        let address = self.endpoints.pick().context("no replica is ready")?;
        let hello = Hello { client: &self.record.client, epoch: None, last_served: Some(self.answered) };
        let greeted = Link::open(address, hello).await?;
        let position = greeted.position;
        self.record.check(&Place::from(&position));
        if position.from != self.answered + 1 || greeted.lost.is_some() {
            let (client, answered) = (&self.record.client, self.answered);
            self.record.astray.add(|| format!("{client}: {position:?} after {answered}"));
        }
        Ok((greeted.link, position.first_missing))
    }

    async fn converse(&mut self, mut link: Link, mut next: i64) -> End {
        let mut leave_at = None;
        let mut due = Instant::now();
        loop {
            let waiting = next - 1 - self.answered;
            if *self.stop.borrow() && waiting == 0 {
                link.close().await;
                return End::Done;
            }
            tokio::select! {
                incoming = link.next() => match incoming {
                    Ok(Incoming::Frame(ServerFrame::Accepted { counter })) => self.record.accept(counter),
                    Ok(Incoming::Frame(ServerFrame::Served { counter, replica, served_at_ms })) => {
                        self.served(counter, Answer { replica, at: served_at_ms });
                        due = Instant::now() + IDLE;
                    }
                    Ok(Incoming::Frame(ServerFrame::Goaway { retry_after_ms })) => {
                        self.record.count("goaway");
                        leave_at = Some(Instant::now() + Duration::from_millis(retry_after_ms));
                    }
                    Ok(Incoming::Closed(1012)) => {
                        self.record.count("connections closed with 1012");
                        return End::Lost(leave_at.unwrap_or_else(Instant::now));
                    }
                    Ok(Incoming::Cut) => {
                        self.record.count("connections cut by the server");
                        return End::Lost(leave_at.unwrap_or_else(Instant::now));
                    }
                    other => {
                        let client = &self.record.client;
                        self.record.wrong.add(|| format!("{client}: {other:?}"));
                        return End::Lost(Instant::now());
                    }
                },
                () = tokio::time::sleep_until(due.into()), if waiting == 0 && leave_at.is_none() => {
                    let message = text_of(&self.record.client, next);
                    if link.send(&ClientFrame::Message { counter: next, message }).await.is_err() {
                        self.record.count("connections cut by the server");
                        return End::Lost(Instant::now());
                    }
                    next += 1;
                }
                Some(within) = self.cuts.recv() => {
                    self.record.count(if within { "connections cut in the middle of a frame" } else { "connections cut" });
                    // A connection that is broken already is cut, too.
                    let _ = link.cut(within).await;
                    return End::Lost(leave_at.unwrap_or_else(Instant::now));
                }
                _ = self.stop.changed() => {}
            }
        }
    }

    fn served(&mut self, counter: i64, answer: Answer) {
        let expected = self.answered + 1;
        if let Some(since) = self.since.take() {
            self.record.first_answer(counter, expected, since.elapsed());
        } else if counter != expected {
            let client = &self.record.client;
            self.record.disorder.add(|| format!("{client}: {counter} in place of {expected}"));
        }
        self.answered = counter;
        self.record.answer(counter, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_is_found() {
        let start = Instant::now();
        let at = |millis: &[u64]| millis.iter().map(|at| start + Duration::from_millis(*at)).collect::<Vec<_>>();
        assert_eq!(busiest_second(&at(&[0, 500, 1100, 1200, 1499, 2300])), 4);
        assert_eq!(busiest_second(&at(&[0, 1000, 2000])), 1);
        assert_eq!(busiest_second(&[]), 0);
    }
}
