//! Who waits for whom, and what ends it; the clock is paused.

use super::*;
use crate::plugins::tests::pending;

fn pod(uid: &str) -> Arc<PodInfo> {
    pending(&format!("{{metadata: {{uid: {uid}}}}}")).info
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn no(plugin: &'static str, why: &str) -> Option<Word> {
    Some(Word::No(Rejection { plugin, why: why.to_owned() }))
}

#[tokio::test(start_paused = true)]
async fn a_pod_goes_when_all_have_let_it_go() {
    let mut waiting = Waiting::default();
    let mut answer = waiting.enter(&pod("a"), &"one".into(), vec![("X", seconds(10)), ("Y", seconds(5))]);
    assert_eq!(waiting.until("a"), Some(Instant::now() + seconds(5)));
    waiting.allow("Y", |_| true);
    assert_eq!(waiting.until("a"), Some(Instant::now() + seconds(10)), "nobody waits for Y any more");
    assert!(answer.try_recv().is_err());
    waiting.allow("X", |info| &**info.uid() == "b");
    assert!(answer.try_recv().is_err(), "that was about another pod");
    waiting.allow("X", |info| &**info.uid() == "a");
    assert_eq!((answer.try_recv().ok(), waiting.until("a")), (Some(Word::Go), None));
}

#[tokio::test(start_paused = true)]
async fn the_first_who_says_no_ends_the_waiting() {
    let mut waiting = Waiting::default();
    let node: Arc<str> = "one".into();
    let asked = || vec![("X", seconds(10)), ("Y", seconds(90))];
    let mut answers = ["a", "b", "c", "d", "e"].map(|uid| waiting.enter(&pod(uid), &node, asked()));
    waiting.reject("Y", "no quorum", |info| &**info.uid() == "a");
    waiting.gone("b");
    waiting.bound("c");
    waiting.expire("d", Instant::now() + seconds(9));
    waiting.expire("d", Instant::now() + seconds(10));
    waiting.lost("two");
    let mut words = answers.each_mut().map(|answer| answer.try_recv().ok());
    let late = "rejected due to timeout after waiting 10s at plugin X";
    assert_eq!(words, [no("Y", "no quorum"), no("", "removed"), Some(Word::Bound), no("X", late), None]);
    waiting.lost("one");
    words[4] = answers[4].try_recv().ok();
    assert_eq!(words[4], no("", "node \"one\" is gone"));
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_told_as_go_tells_it() {
    let mut waiting = Waiting::default();
    let mut answer = waiting.enter(&pod("a"), &"one".into(), vec![("X", seconds(90))]);
    waiting.expire("a", Instant::now() + seconds(90));
    let late = "rejected due to timeout after waiting 1m30s at plugin X";
    assert_eq!(answer.try_recv().ok(), no("X", late));
}
