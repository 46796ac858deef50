//! Runs the state machine of a session on a connection.

use std::sync::Arc;

use kit_websocket_client::Address;
use tokio::sync::{Notify, mpsc, watch};

use crate::client::{Submission, Ticket};
use crate::link::{Clock, Link};
use crate::machine::{Effect, Input, Machine};
use crate::report::Reporter;
use crate::transport::address_of;
use crate::{Answer, Config, Error, Lost, Metrics, Status};

/// Number of frames that are received, and of messages that are taken, before others get a turn.
const BATCH: usize = 64;

/// The session's ends of its channels to the application.
pub(crate) struct Ends {
    pub(crate) submissions: mpsc::Receiver<Submission>,
    pub(crate) to_application: mpsc::Sender<Result<Answer, Lost>>,
    pub(crate) to_acknowledge: watch::Receiver<Option<i64>>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) finish: Arc<Notify>,
}

/// The connection of a client. It does its work while [`run`](Self::run) runs.
#[must_use]
pub struct Session {
    config: Config,
    machine: Machine<Ticket>,
    ends: Ends,
    reporter: Reporter,
    link: Link,
    clock: Clock,
    is_application_gone: bool,
    is_finishing: bool,
}

impl Session {
    pub(crate) fn new(config: Config, metrics: Metrics, ends: Ends) -> Self {
        let machine = Machine::new(config.client_id.clone(), config.settings.clone(), fastrand::Rng::new());
        let reporter = Reporter::new(config.client_id.as_str(), metrics);
        Self {
            config,
            machine,
            ends,
            reporter,
            link: Link::Down,
            clock: Clock::start(),
            is_application_gone: false,
            is_finishing: false,
        }
    }

    /// Connects, and connects again whenever the connection ends, until the client
    /// [finishes](crate::Client::finish) and everything is answered.
    ///
    /// # Errors
    /// Connecting again would not help: another session took over, or the server refuses this client
    /// or one of its messages.
    pub async fn run(mut self) -> Result<(), Error> {
        let result = self.run_to_end().await;
        let reason = result.as_ref().err().unwrap_or(&Error::Ended);
        self.ends.status.send_replace(Status::Ended(reason.clone()));
        self.link.close().await;
        result
    }

    async fn run_to_end(&mut self) -> Result<(), Error> {
        let address = address_of(&self.config.server)?;
        loop {
            while let Some(effect) = self.machine.next_effect() {
                if let Some(result) = self.execute(effect, &address) {
                    return result;
                }
            }
            self.reporter.count(self.machine.counts(), self.machine.in_flight());
            self.step().await;
        }
    }

    /// Waits for the next input, and applies it.
    async fn step(&mut self) {
        let Self { machine, ends, link, clock, is_application_gone, is_finishing, .. } = self;
        if !*is_finishing && ends.submissions.is_closed() && ends.submissions.is_empty() {
            *is_finishing = true;
            return machine.input(clock.now(), Input::Finish);
        }
        // A session whose answers are not taken does not listen. That is no silence of the server.
        let room = if *is_application_gone { BATCH } else { ends.to_application.capacity().min(BATCH) };
        if room == 0 {
            machine.input(clock.now(), Input::Heard);
        }
        let output_at = if link.is_blocked() { None } else { machine.output_deadline() };
        let deadline = [machine.deadline(), output_at].into_iter().flatten().min();
        let has_room = machine.has_room() && !*is_finishing;
        tokio::select! {
            () = link.progress(machine, *clock, room) => {}
            Some(submission) = ends.submissions.recv(), if has_room => submit(machine, &mut ends.submissions, submission, *clock),
            taken = ends.to_acknowledge.changed(), if !*is_application_gone => {
                // An error means that the application has gone away.
                *is_application_gone = taken.is_err();
                let taken = ends.to_acknowledge.borrow_and_update().map(Input::Taken);
                let input = if *is_application_gone { Some(Input::TakesNone) } else { taken };
                if let Some(input) = input {
                    machine.input(clock.now(), input);
                }
            }
            // An error means that the application takes no answers, which the branch above notices.
            _ = ends.to_application.reserve(), if room == 0 => {}
            () = ends.finish.notified() => ends.submissions.close(),
            () = clock.sleep_until(deadline) => machine.tick(clock.now()),
        }
    }

    /// Executes an effect. Returns the result of the session if that was its last one.
    fn execute(&mut self, effect: Effect<Ticket>, address: &Address) -> Option<Result<(), Error>> {
        match effect {
            Effect::Connect => self.link = Link::open(address),
            Effect::Abandon => self.link = Link::Down,
            Effect::Accepted(ticket, counter) => {
                self.reporter.accepted();
                // The sender may not wait.
                let _ = ticket.send(Ok(counter));
            }
            Effect::Answer(answer) => {
                self.reporter.answered(&answer);
                self.deliver(Ok(answer));
            }
            Effect::Lost(lost) => {
                self.reporter.lost(&lost);
                self.deliver(Err(lost));
            }
            Effect::Resumed(position) => {
                self.reporter.resumed(&position);
                self.ends.status.send_replace(Status::Connected(position));
            }
            Effect::Disconnected { reason, delay } => {
                self.reporter.disconnected(&reason, delay);
                self.ends.status.send_replace(Status::Connecting);
            }
            Effect::End(result) => return Some(result),
        }
        None
    }

    /// Gives something to the application. There is room, because no more frames are received than
    /// that, and each frame gives one thing at most.
    fn deliver(&self, answer: Result<Answer, Lost>) {
        // An application that has gone away takes none.
        let _ = self.ends.to_application.try_send(answer);
    }
}

/// Puts messages into the window: `first`, and those that already wait.
fn submit(
    machine: &mut Machine<Ticket>,
    submissions: &mut mpsc::Receiver<Submission>,
    first: Submission,
    clock: Clock,
) {
    let now = clock.now();
    let mut next = Some(first);
    while let Some(Submission { text, ticket }) = next {
        if let Err((ticket, error)) = machine.submit(now, text, ticket) {
            // The sender may not wait.
            let _ = ticket.send(Err(error));
        }
        next = if machine.has_room() { submissions.try_recv().ok() } else { None };
    }
}
