//! What to attach to a node, what to detach, and what the node is to list; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{AttachedVolume, Node, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use sha2::{Digest, Sha256};
use skiff_client::events::EventKind;

/// So long a lost node may keep what it had mounted.
const PATIENCE: SignedDuration = SignedDuration::from_mins(6);

/// A volume that pods of the node need.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) driver: String,
    pub(super) handle: String,
    /// Several nodes may have it at once.
    pub(super) shared: bool,
    pub(super) pods: Vec<Arc<Pod>>,
}

/// What a plan is made from.
pub(super) struct Scene<'a> {
    /// The node, unless it is gone.
    pub(super) node: Option<&'a Node>,
    /// By the volume's name.
    pub(super) wanted: &'a BTreeMap<String, Wanted>,
    /// Attachments to this node.
    pub(super) held: &'a [Arc<VolumeAttachment>],
    /// Volumes that are attached to other nodes.
    pub(super) elsewhere: BTreeSet<String>,
    pub(super) now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) attach: Vec<String>,
    pub(super) detach: Vec<Arc<VolumeAttachment>>,
    /// What the node's status is to list, if it does not yet.
    pub(super) listed: Option<Vec<AttachedVolume>>,
    /// What to tell the pods of a volume: kind, reason, volume, message.
    pub(super) news: Vec<(EventKind, &'static str, String, String)>,
    /// When to look again though nothing happens.
    pub(super) wait: Option<SignedDuration>,
}

/// The name that an attachment has everywhere.
pub(super) fn name(driver: &str, handle: &str, node: &str) -> String {
    let digest = Sha256::digest(format!("{handle}{driver}{node}").as_bytes());
    digest.iter().fold("csi-".to_owned(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Whether an attachment's name is one that `name` makes: what others attach for themselves is not ours to detach.
pub(super) fn is_ours(attachment: &VolumeAttachment) -> bool {
    let digest = attachment.metadata.name.as_deref().and_then(|name| name.strip_prefix("csi-"));
    digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// As kubelet and attacher call the volume.
fn unique(driver: &str, handle: &str) -> String {
    format!("kubernetes.io/csi/{driver}^{handle}")
}

/// Whether the node lists anything as attached.
pub(super) fn lists_any(node: &Node) -> bool {
    node.status
        .as_ref()
        .is_some_and(|status| status.volumes_attached.as_ref().is_some_and(|it| !it.is_empty()))
}

fn is_attached(attachment: &VolumeAttachment) -> bool {
    attachment.status.as_ref().is_some_and(|status| status.attached)
}

/// Since when the node has been lost, if it is.
fn lost(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|it| it.type_ == "Ready").filter(|it| it.status != "True")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

/// From what pods need and what is attached to what is next.
pub(super) fn plan(scene: &Scene<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut listed = Vec::new();
    let held_for = |volume: &str| {
        scene.held.iter().find(|it| it.spec.source.persistent_volume_name.as_deref() == Some(volume))
    };
    let before =
        scene.node.and_then(|node| node.status.as_ref()?.volumes_attached.clone()).unwrap_or_default();
    for (volume, wanted) in scene.wanted {
        let Some(held) = held_for(volume) else {
            if !wanted.shared && scene.elsewhere.contains(volume) {
                let why = format!(
                    "Multi-Attach error for volume {volume:?} Volume is already exclusively attached to one node and \
                     can't be attached to another"
                );
                plan.news.push((EventKind::Warning, "FailedAttachVolume", volume.clone(), why));
            } else if scene.node.is_some() {
                plan.attach.push(volume.clone());
            }
            continue;
        };
        let error = held.status.as_ref().and_then(|status| status.attach_error.as_ref()?.message.clone());
        if is_attached(held) && held.metadata.deletion_timestamp.is_none() {
            let name = unique(&wanted.driver, &wanted.handle);
            if !before.iter().any(|it| it.name == name) {
                let message = format!("AttachVolume.Attach succeeded for volume {volume:?} ");
                plan.news.push((EventKind::Normal, "SuccessfulAttachVolume", volume.clone(), message));
            }
            listed.push(AttachedVolume { name, device_path: String::new() });
        } else if let Some(error) = error {
            let message = format!("AttachVolume.Attach failed for volume {volume:?} : {error}");
            plan.news.push((EventKind::Warning, "FailedAttachVolume", volume.clone(), message));
        }
    }
    for held in scene.held {
        let Some(volume) = held.spec.source.persistent_volume_name.as_deref() else { continue };
        if scene.wanted.contains_key(volume) || held.metadata.deletion_timestamp.is_some() {
            continue;
        }
        match stays(scene, held, &before) {
            None => plan.detach.push(Arc::clone(held)),
            Some((kept, wait)) => {
                listed.extend(kept);
                plan.wait = plan.wait.into_iter().chain(wait).min();
            }
        }
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let ours = |it: &&AttachedVolume| it.name.starts_with("kubernetes.io/csi/");
    let mut wanted: Vec<AttachedVolume> = before.iter().filter(|it| !ours(it)).cloned().collect();
    wanted.extend(listed);
    plan.listed = (wanted != before).then_some(wanted);
    plan
}

/// What keeps an attachment that nobody needs: the node has it mounted. Its entry in the list, and how long it stays
/// though the node is lost.
fn stays(
    scene: &Scene<'_>,
    held: &VolumeAttachment,
    before: &[AttachedVolume],
) -> Option<(Option<AttachedVolume>, Option<SignedDuration>)> {
    let node = scene.node?;
    let in_use = node.status.as_ref()?.volumes_in_use.as_ref()?;
    // Only the handle is missing here: the attachment's name is made from it.
    let prefix = format!("kubernetes.io/csi/{}^", held.spec.attacher);
    let named = |full: &&String| {
        let handle = full.strip_prefix(&prefix);
        handle.is_some_and(|handle| {
            Some(name(&held.spec.attacher, handle, &held.spec.node_name)) == held.metadata.name
        })
    };
    let full = in_use.iter().find(named)?;
    let entry = before.iter().find(|it| it.name == *full).cloned();
    match lost(node).map(|since| scene.now.duration_until(since + PATIENCE)) {
        Some(left) if !left.is_positive() => None,
        left => Some((entry, left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(status: &str) -> Node {
        serde_saphyr::from_str(&format!("{{metadata: {{name: n}}, status: {{{status}}}}}")).unwrap()
    }

    fn attachment(volume: &str, handle: &str, status: &str) -> Arc<VolumeAttachment> {
        let name = name("disks.io", handle, "n");
        let text = format!(
            "{{metadata: {{name: {name}}}, spec: {{attacher: disks.io, nodeName: n, source: {{persistentVolumeName: \
             {volume}}}}}, status: {{{status}}}}}"
        );
        Arc::new(serde_saphyr::from_str(&text).unwrap())
    }

    #[test]
    fn only_attachments_with_names_of_our_making_are_ours() {
        assert!(is_ours(&attachment("v", "h", "")));
        for name in ["va-e2e", "csi-abc", &format!("csi-{}", "x".repeat(64))] {
            let text =
                format!("{{metadata: {{name: {name}}}, spec: {{attacher: a, nodeName: n, source: {{}}}}}}");
            assert!(!is_ours(&serde_saphyr::from_str(&text).unwrap()), "{name}");
        }
    }

    fn wanted(volumes: &[(&str, &str)]) -> BTreeMap<String, Wanted> {
        let one = |(volume, handle): &(&str, &str)| {
            let (driver, handle) = ("disks.io".to_owned(), (*handle).to_owned());
            ((*volume).to_owned(), Wanted { driver, handle, shared: false, pods: Vec::new() })
        };
        volumes.iter().map(one).collect()
    }

    /// What is attached, how many are detached, what is listed, and the reasons told.
    fn told(plan: &Plan) -> (String, usize, Option<String>, String) {
        let list = |listed: &Vec<AttachedVolume>| {
            listed
                .iter()
                .map(|it| it.name.trim_start_matches("kubernetes.io/csi/disks.io^"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let reasons: Vec<&str> = plan.news.iter().map(|(_, reason, ..)| *reason).collect();
        (plan.attach.join(" "), plan.detach.len(), plan.listed.as_ref().map(list), reasons.join(" "))
    }

    fn planned(node: &Node, wants: &[(&str, &str)], held: &[Arc<VolumeAttachment>], elsewhere: bool) -> Plan {
        let wanted = wanted(wants);
        let now = "2026-11-26T10:00:00Z".parse().unwrap();
        let elsewhere = wants.iter().filter(|_| elsewhere).map(|(volume, _)| (*volume).to_owned()).collect();
        plan(&Scene { node: Some(node), wanted: &wanted, held, elsewhere, now })
    }

    #[test]
    fn what_pods_need_is_attached_once_and_listed_when_it_is() {
        let empty = node("");
        assert_eq!(told(&planned(&empty, &[("v", "h")], &[], false)), ("v".into(), 0, None, String::new()));
        let pending = [attachment("v", "h", "attached: false")];
        assert_eq!(
            told(&planned(&empty, &[("v", "h")], &pending, false)),
            (String::new(), 0, None, String::new())
        );
        let attached = [attachment("v", "h", "attached: true")];
        let said = told(&planned(&empty, &[("v", "h")], &attached, false));
        assert_eq!(said, (String::new(), 0, Some("h".into()), "SuccessfulAttachVolume".into()));
        let failed = [attachment("v", "h", "attached: false, attachError: {message: no}")];
        assert_eq!(told(&planned(&empty, &[("v", "h")], &failed, false)).3, "FailedAttachVolume");
        let twice = told(&planned(&empty, &[("v", "h")], &[], true));
        assert_eq!(twice, (String::new(), 0, None, "FailedAttachVolume".into()));
    }

    #[test]
    fn what_nobody_needs_is_detached_when_the_node_has_let_go_of_it() {
        let held = [attachment("v", "h", "attached: true")];
        let volumes = "volumesInUse: [kubernetes.io/csi/disks.io^h], \
                       volumesAttached: [{name: kubernetes.io/csi/disks.io^h, devicePath: ''}]";
        let mounted = node(volumes);
        assert_eq!(told(&planned(&mounted, &[], &held, false)), (String::new(), 0, None, String::new()));
        let free = node("volumesAttached: [{name: kubernetes.io/csi/disks.io^h, devicePath: ''}]");
        assert_eq!(
            told(&planned(&free, &[], &held, false)),
            (String::new(), 1, Some(String::new()), String::new())
        );
        let lost = |at: &str| {
            node(&format!(
                "{volumes}, conditions: [{{type: Ready, status: Unknown, lastTransitionTime: '{at}'}}]"
            ))
        };
        let early = planned(&lost("2026-11-26T09:58:00Z"), &[], &held, false);
        assert_eq!((early.detach.len(), early.wait), (0, Some(SignedDuration::from_mins(4))));
        assert_eq!(planned(&lost("2026-11-26T09:53:00Z"), &[], &held, false).detach.len(), 1);
    }
}
