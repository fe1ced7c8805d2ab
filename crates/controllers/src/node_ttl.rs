//! How long a node may keep what it has read of Secrets and ConfigMaps, as an annotation: the more nodes there are, the
//! longer. Follows upstream's `pkg/controller/ttl`.
//!
//! Steps up and steps down are apart, so that a node that comes and goes does not have all others written each time.

use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use serde_json::json;
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::write::Patch;

use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "ttl-controller",
    component: "ttl-controller",
    wakes: &[on::<Node, Itself>()],
    may: &[("patch", "nodes")],
    workers: 4,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";

/// From so many nodes to so many: so many seconds.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1_000, 30), (900, 2_000, 60), (1_800, usize::MAX, 300)];

/// On which step we are.
#[derive(Default)]
pub(crate) struct Step(Mutex<usize>);

impl Step {
    /// The seconds for so many nodes.
    fn seconds(&self, nodes: usize) -> u32 {
        let mut step = self.0.lock();
        while nodes > STEPS[*step].1 {
            *step += 1;
        }
        while nodes < STEPS[*step].0 {
            *step -= 1;
        }
        STEPS[*step].2
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(node) = ctx.get::<Node>(&key) else { return Ok(Next::Rest) };
    let wanted = ctx.settings().ttl.seconds(ctx.cache::<Node>().len()).to_string();
    let held = node.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
    if held == Some(&wanted) || node.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Rest);
    }
    let body = json!({ "metadata": { "uid": node.metadata.uid, "annotations": { ANNOTATION: wanted } } });
    ctx.patch(&*node, Patch::Merge, &body).await?;
    Ok(Next::Rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_up_and_down_are_apart() {
        let step = Step::default();
        for (nodes, seconds) in [
            (1, 0),
            (100, 0),
            (101, 15),
            (95, 15),
            (89, 0),
            (501, 30),
            (450, 30),
            (449, 15),
            (5_000, 300),
            (1_799, 60),
            (3, 0),
        ] {
            assert_eq!(step.seconds(nodes), seconds, "{nodes}");
        }
    }
}
