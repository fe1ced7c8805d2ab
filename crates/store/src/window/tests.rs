//! Bounds and places of a window.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{Key, suite::Plain};

fn event(revision: u64, previous: usize) -> Arc<Event<Plain>> {
    let plain = |len| Arc::new(Plain(Bytes::from(vec![0; len])));
    let previous = (previous > 0).then(|| plain(previous));
    Arc::new(Event { revision, key: Key::new("t", "n"), object: plain(10), previous, deleted: false })
}

fn filled(revisions: impl IntoIterator<Item = u64>) -> Window<Plain> {
    let mut window = Window::new(1);
    let now = Instant::now();
    revisions.into_iter().for_each(|revision| window.push(event(revision, 1000), now));
    window
}

fn next(window: &Window<Plain>, after: u64) -> Option<u64> {
    match window.at(window.after(after).unwrap()) {
        Found::Event(event) => Some(event.revision),
        Found::End => None,
        Found::Gone(_) => panic!("gone"),
    }
}

#[test]
fn the_next_event_is_found_between_and_at_revisions() {
    let window = filled([3, 5, 9]);
    let found: Vec<_> = [1, 2, 3, 4, 5, 8, 9, 20].map(|after| next(&window, after)).into();
    assert_eq!(found, [Some(3), Some(3), Some(5), Some(5), Some(9), Some(9), None, None]);
    assert_eq!(window.after(0), Err(Compacted { asked: 0, compacted: 1 }));
}

#[test]
fn the_oldest_go_by_count_and_places_stay_true() {
    let mut window = filled([2, 3, 4, 5, 6]);
    let place = window.after(4).unwrap();
    let old = window.after(1).unwrap();
    let options = Options { window_events: 2, ..Options::default() };
    window.trim(&options, 0, Instant::now());
    assert_eq!(window.compacted(), 4);
    assert!(matches!(window.at(place), Found::Event(event) if event.revision == 5));
    assert!(matches!(window.at(old), Found::Gone(4)));
    assert_eq!(window.after(3), Err(Compacted { asked: 3, compacted: 4 }));
}

#[test]
fn the_oldest_go_by_memory_but_the_newest_stays() {
    let mut window = filled([2, 3, 4]);
    window.trim(&Options { window_bytes: 2 * (1000 + OVERHEAD), ..Options::default() }, 0, Instant::now());
    assert_eq!(window.compacted(), 2);
    window.trim(&Options { window_bytes: 0, ..Options::default() }, 0, Instant::now());
    assert_eq!((window.compacted(), next(&window, 3)), (3, Some(4)));
}

#[test]
fn the_oldest_go_by_age() {
    let mut window = filled([2, 3]);
    let later = Instant::now() + Duration::from_secs(60);
    window.push(event(4, 0), later);
    window.trim(&Options { window_age: Duration::from_secs(50), ..Options::default() }, 0, later);
    assert_eq!(window.compacted(), 3);
}

#[test]
fn a_large_table_remembers_more() {
    let mut window = filled([2, 3, 4, 5, 6]);
    let options = Options { window_events: 2, window_bytes: 0, ..Options::default() };
    window.trim(&options, 32, Instant::now());
    assert_eq!(window.compacted(), 2);
}
