//! Every controller in random worlds: whatever comes late, twice, or not at all, it comes to the same end, and on the way
//! it keeps its promises.
//!
//! Some twelve thousand schedules run in all, the cheap scenarios more of them; `SKIFF_SCHEDULES` says how many each scenario runs
//! instead, `SKIFF_SEED` where their seeds begin. A failure tells its seed: `SKIFF_SEED=that SKIFF_SCHEDULES=1` begins the
//! same way again (hash maps have chances of their own), and `SKIFF_STORY=1` tells every change.

mod attach;
mod autoscale;
mod batch;
mod certificates;
mod coscheduling;
mod devices;
mod life;
mod namespaces;
mod nodes;
mod rollouts;
mod scheduler;
mod services;
mod stateful;
mod storage;
mod upkeep;

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde_json::Value;
use skiff_api::Readable;
use skiff_base::Tasks;
use skiff_base::pki::Authority;
use skiff_controllers::{Options, Switches};
use skiff_testkit::World;
use skiff_testkit::world::{Check, Dice, Truth};

/// The authority that is published.
const ROOT_CA: &str = "authority";
/// The one that signs; making it takes longer than many a schedule.
static SIGNER: LazyLock<Arc<Authority>> =
    LazyLock::new(|| Arc::new(Authority::create("kubernetes-ca").unwrap()));
/// After so many steps of life something should have come of it.
const PATIENCE: usize = 3_000;

/// What happens to whom, and what must come of it.
struct Scenario {
    name: &'static str,
    /// How many schedules are enough for every day.
    schedules: u64,
    controllers: &'static [&'static str],
    /// What is there, and what is wanted at first.
    begin: fn(&World, &mut Dice),
    /// Somebody changes their mind, or something breaks.
    whim: fn(&World, &mut Dice),
    /// The last wish: the same in every schedule.
    finally: fn(&World),
    /// What holds after every change.
    always: fn() -> Check,
    /// What it all comes to.
    end: fn(&Truth<'_>) -> Result<(), String>,
}

/// Nothing in particular.
fn anything() -> Check {
    Box::new(|_| Ok(()))
}

/// Makes an object.
fn put<K: Readable>(world: &World, value: Value) {
    world.put::<K>(&serde_json::from_value(value).unwrap());
}

/// Makes the object unless there is one of its name.
fn ensure_there<K: Readable>(world: &World, namespace: &str, name: &str, value: Value) {
    if world.look(|truth| truth.get::<K>(namespace, name)).is_none() {
        put::<K>(world, value);
    }
}

/// Complains unless it holds.
fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

impl Scenario {
    async fn play(&self, world: World) -> Result<(), String> {
        let tasks = Tasks::new();
        let mut dice = world.dice();
        (self.begin)(&world, &mut dice);
        world.always((self.always)());
        let mut options = Options::over(world.link());
        let (schedulers, controllers): (Vec<&str>, Vec<&str>) =
            self.controllers.iter().partition(|name| name.starts_with(scheduler::NAME));
        options.switches = Switches::parse(controllers).map_err(|it| it.to_string())?;
        options.clock = world.clock();
        options.root_ca = Some(ROOT_CA.to_owned());
        options.signer = Some(Arc::clone(&SIGNER));
        options.cluster_cidrs = vec!["10.244.0.0/16".parse().unwrap()];
        for name in schedulers {
            let mut options = skiff_scheduler::Options::new(world.link());
            options.configuration = coscheduling::configuration(name);
            options.clock = world.clock();
            skiff_scheduler::Scheduler::build(options).run(&tasks);
        }
        skiff_controllers::build(options).run(&tasks);
        for _ in 0..1 + dice.below(4) {
            for _ in 0..dice.below(12) {
                life::step(&world, &mut dice).await;
            }
            (self.whim)(&world, &mut dice);
        }
        (self.finally)(&world);
        let settled = self.settle(&world, &mut dice).await;
        tasks.stop();
        settled
    }

    /// Goes on until the end is reached, and a while longer: it must last.
    async fn settle(&self, world: &World, dice: &mut Dice) -> Result<(), String> {
        let mut wrong = String::new();
        let mut reached = None;
        for step in 0..PATIENCE {
            if let Some(complaint) = world.complaint() {
                return Err(complaint);
            }
            if step == PATIENCE / 10 {
                world.calm();
            }
            if !life::step(world, dice).await {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            match (world.look(self.end), reached) {
                (Err(why), _) => (wrong, reached) = (why, None),
                (Ok(()), None) => reached = Some(step),
                (Ok(()), Some(since)) if step - since > 20 => return Ok(()),
                (Ok(()), Some(_)) => {}
            }
        }
        Err(format!("it does not come to its end: {wrong}"))
    }

    /// One schedule; the world's story comes with what went wrong.
    fn simulate(&self, seed: u64) -> Result<(), String> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let world = World::new(seed);
            let played =
                tokio::time::timeout(Duration::from_secs(7 * 86_400), self.play(world.clone())).await;
            let played = played.unwrap_or_else(|_| Err("it takes for ever".to_owned()));
            played.map_err(|why| {
                let story = if std::env::var_os("SKIFF_STORY").is_some() {
                    world.look(|truth| truth.story())
                } else {
                    String::new()
                };
                format!("{why}\n{story}")
            })
        })
    }

    /// Many schedules, on all processors.
    fn run(&self) {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let count = number("SKIFF_SCHEDULES").unwrap_or(self.schedules);
        let now = skiff_base::Clock::system().now().as_nanosecond();
        let first =
            number("SKIFF_SEED").unwrap_or_else(|| u64::try_from(now % 1_000_000_000_000).unwrap_or(0));
        let left = Mutex::new(0..count);
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while failures.lock().unwrap().is_empty() {
                        let Some(n) = left.lock().unwrap().next() else { return };
                        let seed = first + n;
                        if let Err(why) = self.simulate(seed) {
                            failures.lock().unwrap().push(format!("SKIFF_SEED={seed}: {why}"));
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap();
        assert!(failures.is_empty(), "{}, seeds from {first}: {}", self.name, failures.join("\n"));
    }
}
