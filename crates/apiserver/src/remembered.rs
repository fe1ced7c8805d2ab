//! Answers of others, remembered for as long as they are good for.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// How many answers are remembered: the oldest go when there are more.
const MOST: usize = 4096;

/// Answers by the hash of the question: questions may hold secrets.
pub(crate) struct Remembered<V>(Mutex<HashMap<[u8; 32], (Instant, V)>>);

impl<V> Default for Remembered<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// What a question is known by.
#[derive(Clone, Copy)]
pub(crate) struct Question([u8; 32]);

impl Question {
    pub(crate) fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl<V: Clone> Remembered<V> {
    /// The answer, if it is still good.
    pub(crate) fn get(&self, question: Question) -> Option<V> {
        let held = self.0.lock();
        let (until, answer) = held.get(&question.0)?;
        (*until > Instant::now()).then(|| answer.clone())
    }

    /// Remembers an answer for so long.
    pub(crate) fn keep(&self, question: Question, answer: V, life: Duration) {
        if life.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut held = self.0.lock();
        if held.len() >= MOST {
            held.retain(|_, (until, _)| *until > now);
        }
        if held.len() >= MOST {
            let soonest = held.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| *key);
            soonest.map(|key| held.remove(&key));
        }
        held.insert(question.0, (now + life, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_forgotten_when_they_are_old_or_too_many() {
        let held = Remembered::default();
        held.keep(Question::of("a"), 1, Duration::from_secs(2));
        held.keep(Question::of("b"), 2, Duration::ZERO);
        assert_eq!((held.get(Question::of("a")), held.get(Question::of("b"))), (Some(1), None));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(held.get(Question::of("a")), None);
        for number in 0..2 * MOST {
            held.keep(Question::of(&number.to_string()), 3, Duration::from_secs(10 + number as u64));
        }
        assert_eq!(held.0.lock().len(), MOST);
        assert_eq!(held.get(Question::of(&(2 * MOST - 1).to_string())), Some(3));
    }
}
