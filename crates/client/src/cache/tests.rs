//! A cache fed by hand.

use super::*;

fn object(name: &str, revision: u64, owner: &str) -> Arc<Object> {
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"blue","uid":"uid-{name}",
        "resourceVersion":"{revision}","ownerReferences":[{{"apiVersion":"v1","kind":"ReplicationController",
        "name":"rc","uid":"{owner}","controller":true}}]}}}}"#
    );
    Arc::new(Object::parse(text.into()).unwrap())
}

fn names(objects: Vec<Arc<Object>>) -> Vec<String> {
    let mut names: Vec<String> = objects.iter().map(|o| o.meta().name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn indexes_follow_puts_changes_and_removals() {
    let cache = Cache::new(&[BY_CONTROLLER]);
    cache.apply(Delta::Reset(vec![object("a", 1, "x"), object("b", 2, "x")]));
    assert_eq!(names(cache.by(&BY_CONTROLLER, "x")), ["a", "b"]);
    cache.apply(Delta::Put(object("b", 3, "y")));
    assert_eq!(names(cache.by(&BY_CONTROLLER, "x")), ["a"]);
    assert_eq!(names(cache.by(&BY_CONTROLLER, "y")), ["b"]);
    cache.apply(Delta::Gone(object("a", 4, "x")));
    assert!(cache.by(&BY_CONTROLLER, "x").is_empty());
    assert_eq!(names(cache.within("blue")), ["b"]);
}

#[test]
fn a_reset_is_told_as_differences() {
    let cache = Cache::new(&[]);
    cache.apply(Delta::Reset(vec![object("same", 1, "x"), object("old", 2, "x"), object("lost", 3, "x")]));
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    cache.subscribe(move |change| {
        let side = |o: &Option<Arc<Object>>| o.as_ref().map_or(0, |o| o.meta().revision);
        heard.lock().push(format!(
            "{} {}>{}",
            change.latest().meta().name,
            side(&change.old),
            side(&change.new)
        ));
    });
    told.lock().clear();
    cache.apply(Delta::Reset(vec![object("same", 1, "x"), object("old", 5, "x"), object("new", 6, "x")]));
    assert_eq!(*told.lock(), ["lost 3>0", "old 2>5", "new 0>6"]);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_write_ends_when_it_or_something_later_is_seen() {
    let cache = Cache::new(&[]);
    cache.apply(Delta::Reset(vec![object("a", 1, "x")]));
    let patience = Duration::from_secs(1);
    let write = Written::At("blue/b".into(), 7);
    assert!(!cache.wait_for(&write, patience).await);
    let waiting = async { cache.wait_for(&write, patience).await };
    let feeding = async { cache.apply(Delta::Put(object("c", 8, "x"))) };
    assert_eq!(tokio::join!(waiting, feeding), (true, ()));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_deletion_ends_when_the_object_is_gone_or_another_has_its_name() {
    let cache = Cache::new(&[]);
    cache.apply(Delta::Reset(vec![object("a", 9, "x")]));
    let patience = Duration::from_secs(1);
    assert!(!cache.wait_for(&Written::Deleted("blue/a".into(), "uid-a".into()), patience).await);
    assert!(cache.wait_for(&Written::Deleted("blue/a".into(), "another".into()), patience).await);
    cache.apply(Delta::Gone(object("a", 9, "x")));
    assert!(cache.wait_for(&Written::Deleted("blue/a".into(), "uid-a".into()), patience).await);
}
