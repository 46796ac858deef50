//! Turns of several replicas.

mod alternate;
mod fairness;
mod outages;
mod start;
