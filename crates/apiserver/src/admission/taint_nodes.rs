//! TaintNodesByCondition: a new node takes no pods until it has said that it is ready.

use k8s_openapi::api::core::v1::{Node, Taint};
use skiff_api::{ApiError, names};

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("TaintNodesByCondition") };

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.creates() {
        return Ok(());
    }
    let Some(node) = draft.as_any_mut().downcast_mut::<Node>() else { return Ok(()) };
    let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
    let tainted =
        taints.iter().any(|taint| taint.key == names::TAINT_NOT_READY && taint.effect == "NoSchedule");
    if !tainted {
        taints.push(Taint {
            key: names::TAINT_NOT_READY.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        });
    }
    Ok(())
}
