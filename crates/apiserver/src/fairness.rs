//! Priority and fairness: who waits for whom when there is more to do than the server does at once.
//!
//! A request belongs to the first flow schema that matches it, and so to a priority level and, within it, to a flow: that
//! of its user or its namespace. Each level has a share of the server's seats. Within a level flows take turns, so that a
//! flood by one user fills that user's queues and leaves others' alone. Follows upstream's
//! `apiserver/pkg/util/flowcontrol` (API Priority and Fairness); levels do not lend each other seats.

use std::sync::Arc;

use arc_swap::ArcSwap;

pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod keep;
pub(crate) mod queue;

use classify::Asked;
use config::{Config, Flow};
use queue::{Level, Refused, Seat};

/// The seats of the whole server: upstream's `--max-requests-inflight` and `--max-mutating-requests-inflight`.
pub(crate) const SEATS: u32 = 600;

/// What decides who waits.
pub(crate) struct Fairness {
    seats: u32,
    state: ArcSwap<State>,
}

/// A configuration and the queues of its levels.
struct State {
    config: Config,
    levels: Vec<Arc<Level>>,
}

/// What a request was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The uid of its flow schema's object, if there is one.
    pub(crate) schema: Option<String>,
    /// The uid of its priority level's object.
    pub(crate) level: Option<String>,
}

impl Fairness {
    /// With the built-in configuration.
    pub(crate) fn new(seats: u32) -> Self {
        Self { seats, state: ArcSwap::from_pointee(State::new(config::built_in(), seats, None)) }
    }

    /// Follows another configuration from now on. Levels that stay keep their queues and what is under way in them.
    pub(crate) fn set(&self, config: Config) {
        let old = self.state.load();
        self.state.store(Arc::new(State::new(config, self.seats, Some(&old))));
    }

    /// Waits for a request's turn. The seat is held until it is dropped; exempt requests have none.
    ///
    /// # Errors
    /// If its queue is full.
    pub(crate) async fn enter(
        &self,
        asked: &Asked<'_>,
        width: u32,
    ) -> (Judged, Result<Option<Seat>, Refused>) {
        let state = self.state.load_full();
        let (flow, judged) = match state.config.flow(asked) {
            Some(flow) => {
                let judged =
                    Judged { schema: flow.schema_uid.clone(), level: state.config.level_uid(flow.level) };
                (flow, judged)
            }
            // There is always a schema that catches all; without one nobody would be let in.
            None => (Flow { level: 0, schema_uid: None, hash: 0 }, Judged::default()),
        };
        let Some(level) = state.levels.get(flow.level) else { return (judged, Ok(None)) };
        (judged, Level::enter(level, flow.hash, width).await)
    }
}

impl State {
    fn new(config: Config, seats: u32, old: Option<&Self>) -> Self {
        let shares: u32 = config.levels.iter().map(|level| level.shares).sum();
        let levels = config.levels.iter().map(|wanted| {
            let limit = (seats * wanted.shares).div_ceil(shares.max(1));
            let before = old.and_then(|old| {
                let at = old.config.levels.iter().position(|level| level.name == wanted.name)?;
                old.levels.get(at)
            });
            match before.filter(|level| level.has(&wanted.queuing)) {
                Some(level) => {
                    level.resize(limit);
                    Arc::clone(level)
                }
                None => Level::new(limit, &wanted.queuing),
            }
        });
        Self { levels: levels.collect(), config }
    }
}

#[cfg(test)]
mod tests;
