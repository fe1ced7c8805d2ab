//! `kill -9` at random moments under load: whatever was acknowledged is there, byte for byte.
//!
//! The test starts itself as a child that writes from many clients and prints each acknowledged write into a
//! pipe; the parent kills it, reads the pipe to its end, opens the file and compares. A value's bytes follow
//! from its name and revision, so that a line needs no value in it and a half-written one cannot pass.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use skiff_store::{Disk, Expect, Key, Write};

use crate::given::{Note, Notes, delete, open};

const ROUNDS: u64 = 50;
const CLIENTS: u64 = 24;
const KEYS: u64 = 6;
const FILE: &str = "SKIFF_STORE_CRASH_FILE";
const SEED: &str = "SKIFF_STORE_CRASH_SEED";

/// splitmix64: small, and good enough to choose keys and moments.
fn dice(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The value of a name at a revision: up to 6 KB that no other name or revision has.
fn content(name: &str, revision: u64) -> Bytes {
    let mut seed = name.bytes().fold(revision, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let words = dice(&mut seed) % 768;
    (0..words).flat_map(|_| dice(&mut seed).to_le_bytes()).collect()
}

fn put(name: String) -> Write<Note> {
    let key = Key::new("crash", name.as_str());
    Write::put(key, Expect::Any, move |revision| Note { revision, bytes: content(&name, revision) })
}

async fn client(store: Notes, id: u64, mut seed: u64) {
    loop {
        let name = format!("c{id}-{}", dice(&mut seed) % KEYS);
        let key = Key::new("crash", name.as_str());
        let gone = dice(&mut seed).is_multiple_of(4) && store.get(&key).is_some();
        let write = if gone { delete(key, Expect::Present) } else { put(name.clone()) };
        let note = store.write(write).await.unwrap();
        let line = format!("ack {name} {} {}\n", note.revision, if gone { "gone" } else { "live" });
        // One call and no buffer: acknowledged is acknowledged, however soon the end comes.
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
#[ignore = "the child of the crash test; writes until it is killed"]
fn child() {
    let Ok(file) = std::env::var(FILE) else { return };
    let mut seed = std::env::var(SEED).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(Disk::open(file).unwrap());
        let mut clients = tokio::task::JoinSet::new();
        // Before the first acknowledgement: what stands before this line nobody reads.
        println!("started");
        for id in 0..CLIENTS {
            clients.spawn(client(store.clone(), id, dice(&mut seed)));
        }
        clients.join_all().await;
    });
}

/// A child that dies with the test, also when that fails.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the child is to be killed, not run to its end")]
fn start(file: &Path, seed: u64) -> Victim {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child", "--ignored", "--nocapture", "--test-threads=1"]);
    let command = command.env(FILE, file).env(SEED, seed.to_string());
    Victim(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
}

/// The last acknowledged write of each name, and every acknowledged revision of this round.
#[derive(Default)]
struct Acknowledged {
    last: HashMap<String, (u64, bool)>,
    revisions: Vec<u64>,
}

impl Acknowledged {
    fn read(&mut self, line: &str) {
        let Some((_, line)) = line.split_once("ack ") else { return };
        let [name, revision, live] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let revision = revision.parse().unwrap();
        let before = self.last.insert(name.into(), (revision, live == "live"));
        assert!(before.is_none_or(|(before, _)| before < revision), "{name} went back to {revision}");
        self.revisions.push(revision);
    }
}

/// Runs a child, kills it after a moment, and gives back all it acknowledged.
fn round(file: &Path, seed: &mut u64, acknowledged: &mut Acknowledged) {
    let mut child = start(file, dice(seed));
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("started")), "the child starts");
    let (enough, moment) = (dice(seed) % 600, Duration::from_micros(dice(seed) % 3000));
    let mut lines = lines.map(Result::unwrap);
    lines.by_ref().take(enough as usize).for_each(|line| acknowledged.read(&line));
    // The moment is the point of this test: the kill must come anywhere in a commit.
    let until = Instant::now() + moment;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.0.kill().unwrap();
    // What it had printed before it died, to the end. The test harness prints nothing: it is dead too.
    lines.for_each(|line| acknowledged.read(&line));
}

/// Opens the file as the next process would, and compares.
async fn compare(file: &Path, before: u64, acknowledged: &mut Acknowledged) -> u64 {
    let store = open(Disk::open(file).unwrap());
    let revision = store.revision();
    acknowledged.revisions.sort_unstable();
    let count = acknowledged.revisions.len();
    acknowledged.revisions.dedup();
    assert_eq!(acknowledged.revisions.len(), count, "no number twice");
    assert!(
        acknowledged.revisions.iter().all(|at| (before + 1..=revision).contains(at)),
        "none lost or reused"
    );
    // Every number is a write that was acknowledged or, one for each client, on its way.
    let silent = revision - before - count as u64;
    assert!(silent <= CLIENTS, "{silent} numbers nobody was told of");
    let snapshot = store.snapshot("crash");
    for (name, note) in &snapshot.objects {
        assert!(
            note.bytes == content(name, note.revision),
            "{name} at {} is not what was written",
            note.revision
        );
        assert!(note.revision <= revision);
    }
    let mut moved = 0;
    for (name, (last, live)) in &mut acknowledged.last {
        let found = snapshot.objects.get(&**name).map(|note| note.revision);
        if found == live.then_some(*last) {
            continue;
        }
        // Only a write that was on its way may have changed it: a later one, or a deletion.
        moved += 1;
        assert!(found.is_none_or(|found| found > (*last).max(before)), "{name}: {found:?} instead of {last}");
        (*last, *live) = (found.unwrap_or(revision), found.is_some());
    }
    assert!(moved <= silent, "{moved} names changed by {silent} writes");
    acknowledged.revisions.clear();
    store.close().await.unwrap();
    revision
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_kill_9() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut seed = std::env::var(SEED).map_or(now.as_nanos() as u64, |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store");
    let (mut revision, mut acknowledged) = (1, Acknowledged::default());
    for number in 0..ROUNDS {
        println!("round {number}: seed {seed}, from revision {revision}");
        round(&file, &mut seed, &mut acknowledged);
        revision = compare(&file, revision, &mut acknowledged).await;
    }
    println!("{} names, {revision} revisions", acknowledged.last.len());
    assert!(revision > ROUNDS * 20, "the children wrote: {revision}");
}
