//! Turns, pauses and chances; the clock is paused.

use super::*;

fn uid(name: &str) -> Uid {
    name.into()
}

fn queue() -> Queue {
    let sort = crate::profile::Profile::default().sort().cloned().unwrap();
    Queue::new(Pauses::default(), sort, Clock::system())
}

fn put(queue: &Queue, name: &str, priority: i32) {
    queue.put(&uid(name), &uid(name), priority, 1);
}

/// Somebody refused who hopes for another storage class.
fn unfit() -> Failure {
    Failure::Unfit(vec![Hope::new(|event| matches!(event, Event::ClassChanged))])
}

/// Who has a turn within `seconds`, and after how many seconds.
async fn turn(queue: &Queue, seconds: u64) -> Option<(String, u64)> {
    let begun = Instant::now();
    let turn = tokio::time::timeout(Duration::from_secs(seconds), queue.next()).await.ok()?;
    Some((turn.key.to_string(), begun.elapsed().as_secs()))
}

#[tokio::test(start_paused = true)]
async fn the_urgent_go_first_and_then_those_who_waited_longest() {
    let queue = queue();
    put(&queue, "first", 0);
    put(&queue, "second", 0);
    put(&queue, "urgent", 10);
    for expected in ["urgent", "first", "second"] {
        assert_eq!(turn(&queue, 1).await.unwrap().0, expected);
    }
    assert_eq!(turn(&queue, 1).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_refused_pod_waits_for_an_event_that_helps() {
    let queue = queue();
    put(&queue, "a", 0);
    turn(&queue, 1).await.unwrap();
    queue.give_back(&uid("a"), unfit());
    assert_eq!(queue.lengths(), (0, 0, 1));
    tokio::time::advance(Duration::from_secs(60)).await;
    queue.happened(Event::VolumeChanged);
    assert_eq!(turn(&queue, 1).await, None);
    queue.happened(Event::ClassChanged);
    assert_eq!(turn(&queue, 1).await, Some(("a".into(), 0)));
}

#[tokio::test(start_paused = true)]
async fn a_chance_soon_after_a_try_waits_for_the_pause_to_end() {
    let queue = queue();
    put(&queue, "a", 0);
    for expected in [1, 2, 4, 8, 10, 10] {
        turn(&queue, 60).await.unwrap();
        queue.give_back(&uid("a"), unfit());
        queue.happened(Event::ClassChanged);
        let begun = Instant::now();
        put(&queue, "a", 0);
        let next = turn(&queue, 60).await.unwrap();
        assert_eq!((next.0.as_str(), begun.elapsed().as_secs()), ("a", expected));
        let mut inner = queue.inner.lock();
        inner.activate(&uid("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_during_the_try_is_not_lost() {
    let queue = queue();
    put(&queue, "a", 0);
    turn(&queue, 1).await.unwrap();
    queue.happened(Event::ClassChanged);
    queue.give_back(&uid("a"), unfit());
    assert_eq!(turn(&queue, 5).await, Some(("a".into(), 1)));
}

#[tokio::test(start_paused = true)]
async fn after_five_minutes_a_pod_is_tried_in_any_case() {
    let queue = queue();
    put(&queue, "a", 0);
    turn(&queue, 1).await.unwrap();
    queue.give_back(&uid("a"), unfit());
    assert_eq!(turn(&queue, 301).await, Some(("a".into(), 300)));
}

#[tokio::test(start_paused = true)]
async fn a_changed_pod_gets_a_chance_and_a_removed_one_none() {
    let queue = queue();
    put(&queue, "a", 0);
    put(&queue, "b", 0);
    for name in ["a", "b"] {
        turn(&queue, 1).await.unwrap();
        queue.give_back(&uid(name), unfit());
    }
    tokio::time::advance(Duration::from_secs(20)).await;
    put(&queue, "a", 0);
    assert_eq!(turn(&queue, 1).await, None);
    queue.put(&uid("a"), &uid("a"), 0, 2);
    queue.remove("b");
    assert_eq!(turn(&queue, 1).await, Some(("a".into(), 0)));
    assert_eq!(turn(&queue, 400).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_failed_after_its_turn_has_another_one_after_a_pause() {
    let queue = queue();
    put(&queue, "a", 0);
    turn(&queue, 1).await.unwrap();
    queue.remove("a");
    queue.again(&uid("a"), &uid("a"), 0, 1);
    assert_eq!(turn(&queue, 5).await, Some(("a".into(), 1)));
    queue.again(&uid("a"), &uid("a"), 0, 1);
    assert_eq!(queue.lengths(), (0, 0, 0), "it is in hand");
}

/// Goes by name alone.
struct ByName;

impl Plugin for ByName {
    fn name(&self) -> &'static str {
        "ByName"
    }

    fn rank(&self, asking: &Asking<'_>) -> Rank {
        assert_eq!((asking.uid, asking.since), (&**asking.key, 7_000_000));
        Rank { key: Some(Arc::clone(asking.key)), ..Rank::by_priority(0) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_says_who_goes_first() {
    let seven = Clock::from_fn(|| k8s_openapi::jiff::Timestamp::from_second(7).unwrap());
    let queue = Queue::new(Pauses::default(), Arc::new(ByName), seven);
    put(&queue, "b", 10);
    put(&queue, "c", 7);
    put(&queue, "a", 1);
    queue.remove("b");
    for expected in ["a", "c"] {
        assert_eq!(turn(&queue, 1).await.unwrap().0, expected);
    }
    assert_eq!(turn(&queue, 1).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_took_longer_than_events_are_remembered_may_have_been_helped() {
    let queue = queue();
    put(&queue, "a", 0);
    turn(&queue, 1).await.unwrap();
    for _ in 0..=MEMORY {
        queue.happened(Event::VolumeChanged);
    }
    queue.give_back(&uid("a"), unfit());
    assert_eq!(turn(&queue, 5).await, Some(("a".into(), 1)));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_gets_its_place_is_told_only_to_those_whom_it_may_help() {
    let queue = queue();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let hopes: [fn(Arc<std::sync::atomic::AtomicUsize>) -> Hope; 2] = [
        |asked| Hope::new(move |_| asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == usize::MAX),
        |_| Hope::of_placed_too(|event| matches!(event, Event::PodPlaced(_))),
    ];
    for (name, hope) in ["room", "company"].into_iter().zip(hopes) {
        put(&queue, name, 0);
        turn(&queue, 1).await.unwrap();
        queue.give_back(&uid(name), Failure::Unfit(vec![hope(Arc::clone(&asked))]));
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    let placed = crate::plugins::tests::pending("{}").info;
    queue.happened(Event::PodPlaced(placed));
    assert_eq!(turn(&queue, 1).await, Some(("company".into(), 0)));
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 0, "it was not even asked");
}
