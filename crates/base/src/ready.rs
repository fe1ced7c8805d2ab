//! Readiness as a latch: set once, awaited by anyone, never polled.

use tokio::sync::watch;

/// Starts closed, opens once.
#[derive(Clone, Debug)]
pub struct Latch {
    open: watch::Sender<bool>,
}

impl Default for Latch {
    fn default() -> Self {
        Self { open: watch::Sender::new(false) }
    }
}

impl Latch {
    /// A closed latch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// True once open.
    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Waits until it is open.
    pub async fn opened(&self) {
        // The sender lives in `self`, so the wait can only end by opening.
        let mut open = self.open.subscribe();
        let _opened = open.wait_for(|open| *open).await;
    }
}
