//! Priority and fairness: who waits for whom when there is more to do than the server does at once.
//!
//! A request belongs to the first flow schema that matches it, and so to a priority level and, within it, to a flow: that
//! of its user or its namespace. Each level has a share of the server's seats. Within a level flows take turns, so that a
//! flood by one user fills that user's queues and leaves others' alone. Levels lend each other the seats that they do not
//! use. Follows upstream's `apiserver/pkg/util/flowcontrol` (API Priority and Fairness).

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod keep;
mod lend;
pub(crate) mod queue;

use classify::Asked;
use config::{Config, Flow};
use lend::Bounds;
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
    bounds: Vec<Bounds>,
    lending: Mutex<Lending>,
}

/// When seats were dealt last, and what each level asked for until then, smoothed.
struct Lending {
    dealt: Instant,
    smoothed: Vec<f64>,
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
        state.lend();
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
        let (mut levels, mut bounds, mut smoothed) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in &config.levels {
            let limit = (seats * wanted.shares).div_ceil(shares.max(1));
            let at = old.and_then(|old| old.config.levels.iter().position(|level| level.name == wanted.name));
            let before = old.zip(at).and_then(|(old, at)| old.levels.get(at));
            levels.push(match before.filter(|level| level.has(&wanted.queuing)) {
                Some(level) => {
                    level.resize(limit);
                    Arc::clone(level)
                }
                None => Level::new(limit, &wanted.queuing),
            });
            let remembered = old.zip(at).and_then(|(old, at)| old.lending.lock().smoothed.get(at).copied());
            smoothed.push(remembered.unwrap_or(0.0));
            let exempt = wanted.queuing == queue::Queuing::Exempt;
            bounds.push(Bounds { exempt, ..Bounds::new(limit, wanted.lends, wanted.borrows, seats) });
        }
        let lending = Mutex::new(Lending { dealt: Instant::now(), smoothed });
        Self { config, levels, bounds, lending }
    }

    /// Deals the seats anew if it is time. Who asks brings it about: where nobody does, there is nothing to lend.
    fn lend(&self) {
        let mut lending = self.lending.lock();
        if lending.dealt.elapsed() < lend::PERIOD {
            return;
        }
        lending.dealt = Instant::now();
        let seen: Vec<_> = self.levels.iter().map(|level| level.asked()).collect();
        for (smoothed, asked) in lending.smoothed.iter_mut().zip(&seen) {
            *smoothed = lend::smooth(*smoothed, *asked);
        }
        let all = self.bounds.iter().zip(seen).zip(&lending.smoothed);
        let all: Vec<_> = all.map(|((bounds, asked), smoothed)| (*bounds, asked, *smoothed)).collect();
        drop(lending);
        for (level, seats) in self.levels.iter().zip(lend::deal(&all)) {
            Level::grow(level, seats);
        }
    }
}

#[cfg(test)]
mod tests;
