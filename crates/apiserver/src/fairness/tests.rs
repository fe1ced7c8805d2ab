//! A flood by one user leaves others alone; shown with seats that are held until the test lets go.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::queue::Seat;
use super::*;
use crate::request::Info;
use crate::user::User;

type Turn = BoxFuture<'static, Result<Option<Seat>, Refused>>;

/// A call of `name`, which has asked once.
fn call(fairness: &Arc<Fairness>, name: &str) -> (Turn, Option<Result<Option<Seat>, Refused>>) {
    call_as(fairness, User::new(name, Vec::<String>::new()))
}

fn call_as(fairness: &Arc<Fairness>, user: User) -> (Turn, Option<Result<Option<Seat>, Refused>>) {
    let fairness = Arc::clone(fairness);
    let mut turn: Turn = async move {
        let info = Info::parse(&http::Method::GET, "/api/v1/pods", "");
        fairness.enter(&Asked { user: &user, info: &info }, 1).await.1
    }
    .boxed();
    let now = (&mut turn).now_or_never();
    (turn, now)
}

#[tokio::test]
async fn a_flood_by_one_user_leaves_others_their_turn() {
    // The level of both has 20 of 245 shares: two seats of these.
    let fairness = Arc::new(Fairness::new(24));
    let mut seats: Vec<Seat> =
        (0..2).map(|_| call(&fairness, "flood").1.unwrap().unwrap().unwrap()).collect();
    let mut flood: Vec<Turn> = (0..200).map(|_| call(&fairness, "flood").0).collect();
    let (mut other, waits) = call(&fairness, "other");
    assert!(waits.is_none());
    // One seat is freed after another. The flood has a hand of six queues; each has its turn before the other's at most.
    let mut turns = 0;
    while (&mut other).now_or_never().is_none() {
        turns += 1;
        assert!(turns <= 6, "the other waits behind the flood");
        seats.remove(0);
        let ready = flood.iter_mut().enumerate().find_map(|(at, turn)| Some((at, turn.now_or_never()?)));
        if let Some((at, seat)) = ready {
            seats.push(seat.unwrap().unwrap());
            drop(flood.remove(at));
        }
    }
    assert!(flood.len() > 190);
}

#[tokio::test]
async fn a_full_queue_refuses_its_flow_alone() {
    let fairness = Arc::new(Fairness::new(24));
    let _seats: Vec<_> = (0..2).map(|_| call(&fairness, "flood").1.unwrap().unwrap()).collect();
    // Six queues of fifty.
    let waiting: Vec<Turn> = (0..300)
        .map(|_| call(&fairness, "flood"))
        .map(|(turn, now)| {
            assert!(now.is_none());
            turn
        })
        .collect();
    assert!(matches!(call(&fairness, "flood").1, Some(Err(Refused))));
    assert!(call(&fairness, "other").1.is_none(), "the other waits, and is not refused");
    // Who gives up makes room.
    drop(waiting);
    assert!(call(&fairness, "flood").1.is_none());
}

#[tokio::test(start_paused = true)]
async fn seats_that_others_do_not_use_are_lent_and_come_back() {
    let fairness = Arc::new(Fairness::new(24));
    let _seats: Vec<_> = (0..2).map(|_| call(&fairness, "a").1.unwrap().unwrap()).collect();
    let mut waiting: Vec<Turn> = (0..20).map(|_| call(&fairness, "a").0).collect();
    assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
    tokio::time::advance(lend::PERIOD).await;
    waiting.push(call(&fairness, "b").0);
    let let_in: Vec<_> = waiting.iter_mut().filter_map(|turn| turn.now_or_never()).collect();
    assert!(let_in.len() > 8, "{} were let in", let_in.len());
    // Another level asks for the ten of its own: it has them again as soon as seats are dealt.
    let account = || User::new("system:serviceaccount:a:b", ["system:serviceaccounts"]);
    let own: Vec<_> = (0..10).map(|_| call_as(&fairness, account())).collect();
    let (mut turns, at_once): (Vec<Turn>, Vec<_>) = own.into_iter().unzip();
    let at_once: Vec<_> = at_once.into_iter().map(|seat| seat.is_some()).collect();
    assert!(at_once.contains(&false), "it has lent some");
    tokio::time::advance(lend::PERIOD).await;
    let _last = call(&fairness, "b");
    let waiting = turns.iter_mut().zip(at_once).filter(|(_, at_once)| !at_once);
    assert!(waiting.map(|(turn, _)| turn.now_or_never()).all(|seat| seat.is_some()));
}

#[tokio::test]
async fn a_seat_that_nobody_takes_goes_to_the_next() {
    let fairness = Arc::new(Fairness::new(12));
    let (_, seat) = call(&fairness, "a");
    let (gone, _) = call(&fairness, "b");
    let (mut next, _) = call(&fairness, "c");
    drop(gone);
    drop(seat);
    assert!((&mut next).now_or_never().is_some());
}

#[tokio::test]
async fn administrators_never_wait() {
    let fairness = Arc::new(Fairness::new(1));
    let admin = User::new("admin", ["system:masters"]);
    let info = Info::parse(&http::Method::GET, "/api/v1/pods", "");
    let mut seats = Vec::new();
    for _ in 0..1000 {
        let (_, seat) = fairness.enter(&Asked { user: &admin, info: &info }, 10).await;
        seats.push(seat.unwrap());
    }
}
