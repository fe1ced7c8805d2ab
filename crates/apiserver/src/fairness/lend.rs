//! Levels lend each other the seats that they do not use: how many each has follows what was asked of it lately. Pure.
//!
//! As upstream's `apf_controller.go` and `conc_alloc.go`, worked out every ten seconds: a level keeps what it may not lend,
//! and of the rest what it has used at most; what all together do not use goes to them in proportion to what they
//! asked for, up to what each may borrow. Exempt levels take what they use before all others.

use std::time::Duration;

use tokio::time::Instant;

/// How often seats are dealt anew.
pub(crate) const PERIOD: Duration = Duration::from_secs(10);
/// How much of what was asked for is remembered from one period to the next: half of it for five minutes.
const MEMORY: f64 = 0.977;
/// Who asks for nothing still has a part in what is left.
const LEAST: f64 = 0.001;

/// Within which bounds a level's seats move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Its share of the server.
    pub(crate) nominal: u32,
    /// What it never lends.
    pub(crate) least: u32,
    /// What it has at most, borrowed ones included.
    pub(crate) most: u32,
    /// Nobody waits there, so that no limit is put on it.
    pub(crate) exempt: bool,
}

impl Bounds {
    /// From the parts in percent that a level may lend, and may borrow if that is limited at all.
    pub(crate) fn new(nominal: u32, lends: u32, borrows: Option<u32>, server: u32) -> Self {
        let part = |percent: u32| (nominal * percent + 50) / 100;
        Self {
            nominal,
            least: nominal.saturating_sub(part(lends)),
            most: borrows.map_or(server, |percent| nominal + part(percent)),
            exempt: false,
        }
    }
}

/// How many seats are asked for, over time: those taken and those waited for.
#[derive(Debug)]
pub(crate) struct Demand {
    now: u32,
    since: Instant,
    begun: Instant,
    sum: f64,
    squares: f64,
    most: u32,
}

/// What was asked for in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// At most.
    pub(crate) most: f64,
    /// The mean and one standard deviation, if that is not more than the most.
    pub(crate) usual: f64,
}

impl Demand {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { now: 0, since: now, begun: now, sum: 0.0, squares: 0.0, most: 0 }
    }

    fn settle(&mut self, at: Instant) {
        let (seconds, value) = ((at - self.since).as_secs_f64(), f64::from(self.now));
        self.sum += value * seconds;
        self.squares += value * value * seconds;
        self.since = at;
    }

    /// So many are asked for from now on.
    pub(crate) fn set(&mut self, seats: u32) {
        self.settle(Instant::now());
        self.now = seats;
        self.most = self.most.max(seats);
    }

    /// What was asked for since the last time; begins anew.
    pub(crate) fn take(&mut self) -> Asked {
        let at = Instant::now();
        self.settle(at);
        let (seconds, most) = ((at - self.begun).as_secs_f64(), f64::from(self.most));
        let (mean, squares) =
            if seconds > 0.0 { (self.sum / seconds, self.squares / seconds) } else { (most, most * most) };
        let deviation = (squares - mean * mean).max(0.0).sqrt();
        *self = Self { begun: at, sum: 0.0, squares: 0.0, most: self.now, ..*self };
        Asked { most, usual: most.min(mean + deviation) }
    }
}

/// What a level asked for, smoothed: it rises at once and falls slowly.
pub(crate) fn smooth(before: f64, asked: Asked) -> f64 {
    asked.usual.max(MEMORY * before + (1.0 - MEMORY) * asked.usual)
}

/// The seats of each level, from its bounds, what it asked for, and that smoothed.
pub(crate) fn deal(levels: &[(Bounds, Asked, f64)]) -> Vec<u32> {
    let floor = |(bounds, asked, _): &(Bounds, Asked, f64)| {
        let used = if bounds.exempt { asked.most } else { asked.most.min(f64::from(bounds.nominal)) };
        used.max(f64::from(bounds.least))
    };
    let all: f64 = levels.iter().map(|(bounds, ..)| f64::from(bounds.nominal)).sum();
    let exempt: f64 = levels.iter().filter(|(bounds, ..)| bounds.exempt).map(floor).sum();
    let left = (all - exempt).max(0.0);
    let limited = || levels.iter().filter(|(bounds, ..)| !bounds.exempt);
    let seats = |fair: f64, level: &(Bounds, Asked, f64)| {
        let (least, most) = (floor(level), f64::from(level.0.most));
        (fair * level.2.max(least).max(LEAST)).clamp(least, most.max(least))
    };
    // All together grow with `fair`, so that the one at which nothing is left over can be closed in on.
    let sum = |fair: f64| limited().map(|level| seats(fair, level)).sum::<f64>();
    let (mut low, mut high) = (0.0, left / LEAST + 1.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if sum(middle) <= left { low = middle } else { high = middle }
    }
    levels.iter().map(|level| whole(if level.0.exempt { floor(level) } else { seats(low, level) })).collect()
}

fn whole(seats: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seats are few, and never negative"
    )]
    let seats = seats.round() as u32;
    seats
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(nominal: u32, lends: u32, borrows: Option<u32>, asked: f64) -> (Bounds, Asked, f64) {
        let asked = Asked { most: asked, usual: asked };
        (Bounds::new(nominal, lends, borrows, 100), asked, asked.usual)
    }

    #[test]
    fn what_is_not_used_goes_to_who_asks_for_more() {
        for (levels, seats) in [
            // All ask for little: what is left is dealt in proportion to what they ask for.
            ([level(50, 50, None, 1.0), level(50, 50, None, 1.0)], [50, 50]),
            // One lends half of its own, and no more.
            ([level(50, 50, None, 0.0), level(50, 50, None, 200.0)], [25, 75]),
            ([level(50, 0, None, 0.0), level(50, 50, None, 200.0)], [50, 50]),
            // What it uses itself is not lent.
            ([level(50, 90, None, 40.0), level(50, 90, None, 200.0)], [40, 60]),
            // Who may borrow but little gets no more.
            ([level(50, 90, None, 0.0), level(50, 90, Some(20), 200.0)], [40, 60]),
            // Both ask for more than there is: each has its own.
            ([level(30, 90, None, 200.0), level(70, 90, None, 200.0)], [30, 70]),
        ] {
            assert_eq!(deal(&levels), seats, "{levels:?}");
        }
    }

    #[test]
    fn exempt_levels_take_theirs_before_all_others() {
        let (mut bounds, asked, smoothed) = level(0, 0, None, 30.0);
        bounds.exempt = true;
        let levels = [(bounds, asked, smoothed), level(50, 50, None, 0.0), level(50, 50, None, 200.0)];
        assert_eq!(deal(&levels), [30, 25, 50]);
    }

    #[tokio::test(start_paused = true)]
    async fn demand_is_its_mean_and_deviation_and_rises_at_once_but_falls_slowly() {
        let mut demand = Demand::new();
        demand.set(10);
        tokio::time::advance(Duration::from_secs(5)).await;
        demand.set(0);
        tokio::time::advance(Duration::from_secs(5)).await;
        let asked = demand.take();
        assert_eq!((asked.most, asked.usual), (10.0, 10.0));
        let smoothed = smooth(0.0, asked);
        tokio::time::advance(Duration::from_secs(10)).await;
        let idle = demand.take();
        assert_eq!((smoothed, idle), (10.0, Asked::default()));
        let later = smooth(smoothed, idle);
        assert!(later < smoothed && later > 9.0, "{later}");
    }
}
