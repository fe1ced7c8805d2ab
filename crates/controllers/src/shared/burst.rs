//! Many writes of one sort, begun carefully: one, then two, then four at once, and no more after a failure.
//!
//! So a controller whose pods the server refuses (quota, a bad template) asks a few times, not five hundred. However many
//! there are, few are under way at once: more would stand in line at the server, before everybody else's.

use std::future::Future;

use futures::StreamExt;

use skiff_client::write;

/// How a burst went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) done: usize,
    pub(crate) tried: usize,
    pub(crate) failures: Vec<kube::Error>,
}

/// How many of a batch are under way at once.
const ABREAST: usize = 64;
/// The first batch has one item.
pub(crate) const SLOWLY: usize = 1;
/// There is one batch.
pub(crate) const AT_ONCE: usize = usize::MAX / 2;

/// Runs `act` for each item, in batches that begin with `size` and double.
pub(crate) async fn run<I, F: Future<Output = write::Result<()>>>(
    items: impl IntoIterator<Item = I>,
    mut size: usize,
    act: impl Fn(I) -> F,
) -> Report {
    let mut items = items.into_iter();
    let mut report = Report::default();
    loop {
        let batch: Vec<F> = items.by_ref().take(size).map(&act).collect();
        if batch.is_empty() || !report.failures.is_empty() {
            return report;
        }
        report.tried += batch.len();
        let mut results = futures::stream::iter(batch).buffer_unordered(ABREAST);
        while let Some(result) = results.next().await {
            match result {
                Ok(()) => report.done += 1,
                Err(error) => report.failures.push(error),
            }
        }
        size = size.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_ends_the_burst_after_its_batch() {
        let refuse_from = |first: usize| async move {
            run(0..100, SLOWLY, |n| async move {
                if n < first { Ok(()) } else { Err(kube::Error::LinesCodecMaxLineLengthExceeded) }
            })
            .await
        };
        let report = refuse_from(0).await;
        assert_eq!((report.done, report.tried), (0, 1));
        let report = refuse_from(4).await;
        assert_eq!((report.done, report.tried), (4, 7));
        let report = refuse_from(100).await;
        assert_eq!((report.done, report.tried), (100, 100));
    }
}
