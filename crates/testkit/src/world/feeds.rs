//! What a component hears of the world: in order, but late, sometimes twice, sometimes only that it missed something.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use skiff_api::Object;
use skiff_client::link::LocalFeeds;
use skiff_client::{Delta, Topic};
use tokio::sync::watch;

use super::{Dice, World, table};

/// How late news may be, in milliseconds: less than a controller waits to see its own writes.
const LATE: u64 = 2_000;

struct Listener {
    world: World,
    table: String,
    dice: Dice,
    told: watch::Receiver<usize>,
    /// How much of the log was heard; nothing yet: it begins with everything.
    heard: Option<usize>,
    next: VecDeque<Delta<Arc<Object>>>,
}

impl LocalFeeds for World {
    fn subscribe(&self, topic: &Topic) -> BoxStream<'static, Delta<Arc<Object>>> {
        let listener = Listener {
            world: self.clone(),
            table: table(&topic.resource.group, &topic.resource.plural),
            dice: self.dice(),
            told: self.told.subscribe(),
            heard: None,
            next: VecDeque::new(),
        };
        futures::stream::unfold(listener, Listener::hear).boxed()
    }
}

impl Listener {
    async fn hear(mut self) -> Option<(Delta<Arc<Object>>, Self)> {
        loop {
            if let Some(delta) = self.next.pop_front() {
                return Some((delta, self));
            }
            let heard = self.heard.unwrap_or(0);
            if self.heard.is_some() && self.told.wait_for(|told| *told > heard).await.is_err() {
                return None;
            }
            tokio::time::sleep(self.dice.moment(LATE)).await;
            self.catch_up();
        }
    }

    fn catch_up(&mut self) {
        let state = self.world.state.lock();
        let lost = self.heard.is_none() || (!state.calm && self.dice.percent(3));
        let heard = self.heard.replace(state.log.len()).unwrap_or(0);
        if lost {
            let objects = state.tables.get(&self.table).into_iter().flat_map(|table| table.values().cloned());
            self.next.push_back(Delta::Reset(objects.collect()));
            return;
        }
        for change in state.log[heard..].iter().filter(|change| change.table == self.table) {
            let object = Arc::clone(&change.object);
            let delta = if change.gone { Delta::Gone(object) } else { Delta::Put(object) };
            if !state.calm && self.dice.percent(5) {
                self.next.push_back(delta.clone());
            }
            self.next.push_back(delta);
        }
    }
}
