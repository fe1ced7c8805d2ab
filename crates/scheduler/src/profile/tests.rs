//! What plugins say at the points after a node was chosen, and what comes of it.

use parking_lot::Mutex;
use skiff_base::Clock;
use tokio::time::Instant;

use super::*;
use crate::config::Pauses;
use crate::plugin::{Asking, Bound, Rank};
use crate::plugins::PrioritySort;
use crate::plugins::tests::{cluster, pending};
use crate::snapshot::Word;

/// Says what it is told to, and writes down what it is asked.
struct Scripted {
    name: &'static str,
    permit: Permit,
    binds: bool,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Plugin for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn rank(&self, asking: &Asking<'_>) -> Rank {
        Rank { key: Some(Arc::clone(asking.key)), since: asking.since, ..Rank::by_priority(asking.priority) }
    }

    fn permit(&self, _: &Pending, _: &mut Snapshot, _: &Queue) -> Permit {
        self.permit.clone()
    }

    fn unreserve(&self, _: &Pending, _: &mut Snapshot) {
        self.asked.lock().push(format!("{} unreserves", self.name));
    }

    fn bind<'a>(&self, _: &'a Link, _: &'a Pod, _: &'a str) -> Option<Bound<'a>> {
        self.binds.then(|| {
            self.asked.lock().push(format!("{} binds", self.name));
            Box::pin(async { Ok(()) }) as Bound<'a>
        })
    }

    fn post_bind(&self, _: &Pending, node: &str) {
        self.asked.lock().push(format!("{} knows of {node}", self.name));
    }
}

struct Case {
    profile: Profile,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Plugins that are asked everywhere, in this order.
fn profile(plugins: &[(&'static str, Permit, bool)]) -> Case {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seat = |(name, permit, binds): &(&'static str, Permit, bool)| Seat {
        plugin: Arc::new(Scripted { name, permit: permit.clone(), binds: *binds, asked: Arc::clone(&asked) }),
        weight: 0,
        points: Points::of(&Point::ALL),
    };
    let seats = plugins.iter().map(seat).collect();
    Case { profile: Profile { seats, ..Profile::default() }, asked }
}

fn verdict(plugins: &[(&'static str, Permit, bool)], cluster: &mut Snapshot) -> Verdict {
    let queue = Queue::new(Pauses::default(), Arc::new(PrioritySort), Clock::system());
    profile(plugins).profile.permit(&pending("{metadata: {uid: a}}"), &"one".into(), cluster, &queue)
}

fn wait(seconds: u64) -> Permit {
    Permit::Wait(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_if_somebody_asks_it_to_and_nobody_rejects_it() {
    let mut cluster = cluster("[]", "[]");
    let reject = Permit::Reject("too late".to_owned());
    assert!(matches!(verdict(&[("X", Permit::Allow, false)], &mut cluster), Verdict::Go));
    let both = [("X", wait(10), false), ("Y", reject, false)];
    let Verdict::No(by) = verdict(&both, &mut cluster) else { panic!("Y rejects it") };
    assert_eq!(by, Rejection { plugin: "Y", why: "too late".to_owned() });
    assert_eq!(cluster.waiting.until("a"), None);
    let both = [("X", wait(10), false), ("Y", wait(3_600), false)];
    let Verdict::Wait(mut answer) = verdict(&both, &mut cluster) else { panic!("both ask it to wait") };
    cluster.waiting.allow("X", |_| true);
    let longest = Instant::now() + Duration::from_secs(15 * 60);
    assert_eq!(cluster.waiting.until("a"), Some(longest), "nobody waits for longer");
    cluster.waiting.allow("Y", |_| true);
    assert_eq!(answer.try_recv().ok(), Some(Word::Go));
}

#[tokio::test]
async fn the_first_who_takes_a_pod_binds_it_and_those_who_reserved_last_hand_back_first() {
    let plugins = [("X", Permit::Allow, false), ("Y", Permit::Allow, true), ("Z", Permit::Allow, true)];
    let Case { profile, asked } = profile(&plugins);
    let pod = pending("{}");
    let nobody = |_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>("nobody")
    };
    let link = Link::remote(kube::Client::new(tower::service_fn(nobody), "default"));
    profile.bind(&link, &pod.pod, "one").await.unwrap();
    profile.post_bind(&pod, "one");
    profile.unreserve(&pod, &mut Snapshot::default());
    let expected = [
        "Y binds",
        "X knows of one",
        "Y knows of one",
        "Z knows of one",
        "Z unreserves",
        "Y unreserves",
        "X unreserves",
    ];
    assert_eq!(*asked.lock(), expected);
}
