//! The Deployment: starts and removes pods.

use values_core::manager::Effect;
use values_core::worker::{Next, Worker};

use crate::Protocol;
use crate::judge::{is_living, present};
use crate::properties::{Rule, Witness};
use crate::state::{State, pod_name};

/// Executes a manager's order.
///
/// Judges only pods that the leader named and the platform removed. The order of a
/// deposed manager may come when its pods own ids again. If more pods have to go than
/// there are workers to name, the platform chooses the rest. Both cases count as wrong
/// kills.
pub(crate) fn obey(model: &Protocol, state: &mut State, manager: usize, replicas: u32, victims: &[String]) {
    let led = state.managers[manager].manager.term();
    let leads = led.is_some() && led == present(&state.tables);
    for (pod, loaded) in scale(state, replicas, victims) {
        let named = victims.contains(&pod_name(pod));
        model.witnesses.note(Witness::PodRemoved, named && !loaded);
        model.witnesses.note(Witness::WrongKill, loaded);
        state.require(Rule::Removal, !leads || !named || !loaded);
    }
}

/// Executes a manager's order on a different pod.
pub(crate) fn wrong_kill(model: &Protocol, state: &mut State, manager: usize, pod: usize) {
    let Effect::Scale { replicas, .. } = state.managers[manager].queue.remove(0) else { return };
    for (_, loaded) in scale(state, replicas, &[pod_name(pod)]) {
        model.witnesses.note(Witness::WrongKill, loaded);
    }
}

/// Sets the number of pods. Removes the pods whose worker is not ready first, then the
/// named ones, then any. Returns each removed pod, and whether ids were lost with it.
pub(crate) fn scale(state: &mut State, replicas: u32, victims: &[String]) -> Vec<(usize, bool)> {
    state.replicas = replicas;
    let surplus = state.existing_pods().count().saturating_sub(replicas as usize);
    let mut pods: Vec<usize> = state.existing_pods().collect();
    pods.sort_by_key(|pod| (is_ready(state, *pod), !victims.contains(&pod_name(*pod))));
    pods.truncate(surplus);
    let removed: Vec<_> = pods.into_iter().map(|pod| (pod, load(state, pod) > 0)).collect();
    for (pod, _) in &removed {
        state.pods[*pod] = None;
    }
    start_missing(state);
    removed
}

fn start_missing(state: &mut State) {
    let missing = (state.replicas as usize).saturating_sub(state.existing_pods().count());
    for place in state.pods.iter_mut().filter(|pod| pod.is_none()).take(missing) {
        *place = Some(Worker::new());
    }
}

fn is_ready(state: &State, pod: usize) -> bool {
    let worker = state.pods[pod].as_ref().and_then(Worker::registration);
    worker.is_some_and(|worker| is_living(&state.tables, worker))
}

/// Number of ids that would lose their living worker with this pod. Ids of a dead worker
/// do not count.
fn load(state: &State, pod: usize) -> usize {
    let worker = state.pods[pod].as_ref().and_then(Worker::registration);
    worker.filter(|worker| is_living(&state.tables, *worker)).map_or(0, |worker| state.load(Some(worker.incarnation)))
}

/// Records a worker that ended in order: by itself, and without ids.
pub(crate) fn note_end(model: &Protocol, state: &State, pod: usize) {
    let ended = state.pods[pod].as_ref().is_some_and(|worker| worker.next() == Next::Exit);
    model.witnesses.note(Witness::GracefulEnd, ended && load(state, pod) == 0);
}

/// Starts a new pod in the place of a pod whose worker has ended.
pub(crate) fn replace_if_ended(state: &mut State, pod: usize) {
    if state.pods[pod].as_ref().is_some_and(|worker| worker.next() == Next::Exit) {
        state.pods[pod] = None;
        start_missing(state);
    }
}
