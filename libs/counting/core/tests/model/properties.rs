//! Properties that must always hold, and witnesses that the searches must find.

use counting_core::{Command, Event, Reason, Role, Server};
use kit_model::Witnesses;
use stateright::Property;

use crate::Protocol;
use crate::state::{Rule, State};

pub(crate) const PROGRESS: &str = "the count goes on";
pub(crate) const CALM: &str = "clients do not restart for ever";

/// More connections than any path needs.
pub(crate) const MANY_CONNECTIONS: u64 = 12;

/// The properties that the checker verifies. No path comes back to a state, and no step follows the
/// goal: so a count that does not go on ends in a state before the goal, or needs many connections.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(Rule::Order.name(), |_, state: &State| !state.broken.contains(&Rule::Order)),
        Property::always(Rule::Acknowledged.name(), |_, state: &State| !state.broken.contains(&Rule::Acknowledged)),
        Property::always(Rule::Probed.name(), |_, state: &State| !state.broken.contains(&Rule::Probed)),
        Property::always(Rule::Wished.name(), |_, state: &State| !state.broken.contains(&Rule::Wished)),
        Property::always(CALM, |_, state: &State| state.connections < MANY_CONNECTIONS),
        Property::eventually(PROGRESS, |model: &Protocol, state: &State| state.log >= model.config.goal),
    ]
}

/// An event that a search must find, or its result means little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// A further client was rejected.
    Rejected,
    /// The role of a silent holder went to a client that waited.
    Succeeded,
    /// A client was disconnected for a missing number.
    Missing,
    /// A client was disconnected because another one counts its numbers.
    Taken,
    /// Two clients exchanged their roles, or one took the other role.
    Exchanged,
    /// A client sent a number that is stored, as clients do that are started again.
    Repeated,
    /// A store failed, and was done later.
    StoredLater,
    /// A client got the second role, which it wanted, although the first one was free.
    Granted,
    /// A client got another role than the wanted one.
    NotGranted,
}

impl kit_model::Witness for Witness {
    fn index(self) -> usize {
        self as usize
    }
}

/// Records what the server did in a step.
pub(crate) fn note(witnesses: &Witnesses<Witness>, before: &Server, event: Event, commands: &[Command]) {
    let disconnects = |why: fn(Reason) -> bool| {
        commands.iter().any(|command| matches!(command, Command::Disconnect { reason, .. } if why(*reason)))
    };
    let assigned = commands.iter().find_map(|command| match command {
        Command::Assign { role, .. } => Some(*role),
        _ => None,
    });
    let is_silent = disconnects(|reason| reason == Reason::Silent);
    let is_taken = disconnects(|reason| matches!(reason, Reason::Taken(_)));
    witnesses.note(Witness::Rejected, commands.iter().any(|command| matches!(command, Command::Reject(_))));
    witnesses.note(Witness::Succeeded, is_silent && assigned.is_some());
    witnesses.note(Witness::Missing, disconnects(|reason| matches!(reason, Reason::Missing(_))));
    witnesses.note(Witness::Taken, is_taken);
    match event {
        Event::Number { number, .. } => {
            witnesses.note(Witness::Exchanged, assigned.is_some() && !is_taken);
            witnesses.note(Witness::Repeated, number <= before.stored());
        }
        Event::Stored(_) => witnesses.note(Witness::StoredLater, before.cannot_store()),
        Event::Connected { wanted: Some(wanted), .. } => {
            let could_be_first = before.holder(Role::Client1).is_none() && wanted == Role::Client2;
            witnesses.note(Witness::Granted, could_be_first && assigned == Some(wanted));
            witnesses.note(Witness::NotGranted, assigned.is_some_and(|role| role != wanted));
        }
        _ => {}
    }
}
