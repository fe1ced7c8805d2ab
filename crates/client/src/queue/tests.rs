//! Order, dedup and time; the clock is paused.

use super::*;

/// What comes out within `millis`.
async fn drained(queue: &Queue<&'static str>, millis: u64) -> Vec<&'static str> {
    let mut out = Vec::new();
    let end = Instant::now() + Duration::from_millis(millis);
    while let Ok(key) = tokio::time::timeout_at(end, queue.next()).await {
        queue.done(&key);
        out.push(key);
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_once_however_often_it_is_added() {
    let queue = Queue::new();
    for key in ["a", "b", "a", "a"] {
        queue.add(key);
    }
    assert_eq!(drained(&queue, 1).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_added_while_held_comes_again_only_after_it_is_given_back() {
    let queue = Queue::new();
    queue.add("a");
    let held = queue.next().await;
    queue.add("a");
    assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
    queue.done(&held);
    assert_eq!(drained(&queue, 1).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_soonest_of_several_delays_counts() {
    let queue = Queue::new();
    queue.add_after("a", Duration::from_secs(9));
    queue.add_after("a", Duration::from_secs(1));
    queue.add_after("b", Duration::from_secs(2));
    assert!(drained(&queue, 999).await.is_empty());
    assert_eq!(drained(&queue, 10).await, ["a"]);
    assert_eq!(drained(&queue, 60_000).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn pauses_double_until_success() {
    let queue = Queue::new();
    let pauses: Vec<u128> = (0..3).map(|_| queue.retry("a").as_millis()).collect();
    assert_eq!(pauses, [5, 10, 20]);
    queue.forget(&"a");
    assert_eq!(queue.retry("a").as_millis(), 5);
}

#[tokio::test(start_paused = true)]
async fn several_waiting_workers_share_a_burst() {
    let queue: Queue<u32> = Queue::new();
    let worker = || async {
        let key = queue.next().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        key
    };
    let burst = async {
        tokio::task::yield_now().await;
        (0..3).for_each(|key| queue.add(key));
    };
    let all = async { tokio::join!(worker(), worker(), worker(), burst) };
    let (a, b, c, ()) = tokio::time::timeout(Duration::from_secs(11), all).await.unwrap();
    let mut keys = [a, b, c];
    keys.sort_unstable();
    assert_eq!(keys, [0, 1, 2]);
}
