//! Every right in a controller's row is used, and nobody asks for what is not in theirs.
//!
//! The server tells what its authorisers are asked, its own questions inside a write included. The scenes below give each
//! controller a reason for each of its rights; what no scene can bring about is listed with the reason, and the list must
//! not hold what is used after all.

mod scenes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skiff_apiserver::{Asked, User, Witness};
use skiff_base::pki::Authority;
use skiff_testkit::Cluster;
use tokio::sync::watch;

use crate::{everything, roles, schedule};

/// Rights that no scene uses: controller, verb, resource, and why.
const UNUSED: &[(&str, &str, &str, &str)] = &[
    (
        "statefulset-controller",
        "update",
        "pods/finalizers",
        "where claims go with the pods that are scaled away",
    ),
    ("pod-garbage-collector", "get", "nodes", "asked 40 s after a node has gone"),
    (
        "tokens-controller",
        "patch",
        "secrets",
        "for Secrets whose token the server has not filled in at their creation",
    ),
    (
        "podcertificaterequest-cleaner",
        "delete",
        "podcertificaterequests.certificates.k8s.io",
        "deleted some time after it was made",
    ),
    ("namespace-controller", "delete", "*", "for kinds of other servers without deletecollection"),
];

/// All that was asked.
type Seen = watch::Sender<BTreeSet<Asked>>;

/// One verb on one resource that a row declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Right {
    controller: &'static str,
    verb: &'static str,
    /// `pods/status`, `pods.metrics.k8s.io`, `*/scale`, `*`.
    resource: &'static str,
}

impl Right {
    /// Every right of every row.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (controller, may) in skiff_controllers::names() {
            for (verbs, resources) in may {
                for verb in verbs.split_whitespace() {
                    all.extend(resources.split_whitespace().map(|resource| Self {
                        controller,
                        verb,
                        resource,
                    }));
                }
            }
        }
        all
    }

    fn covers(&self, asked: &Asked) -> bool {
        let (whole, sub) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let (plural, group) = whole.split_once('.').unwrap_or((whole, ""));
        let (asked_plural, asked_sub) = asked.resource.split_once('/').unwrap_or((&asked.resource, ""));
        let any = plural == "*" && sub.is_empty();
        self.verb == asked.verb
            && User::service_account("kube-system", self.controller).name.as_ref() == asked.user
            && (group.is_empty() || group == asked.group)
            && (any || (plural == "*" || plural == asked_plural) && sub == asked_sub)
    }

    /// An event that is told again is patched; telling it once is enough here.
    fn repeats(&self) -> bool {
        (self.verb, self.resource) == ("patch", "events")
    }

    fn excused(&self) -> bool {
        UNUSED.iter().any(|(controller, verb, resource, _)| {
            (self.controller, self.verb, self.resource) == (*controller, *verb, *resource)
        })
    }
}

/// A cluster whose server tells what is asked, with every controller under its own identity.
async fn watched(seen: &Arc<Seen>) -> Cluster {
    let told = Arc::clone(seen);
    let witness = Witness(Arc::new(move |asked: &Asked| {
        told.send_if_modified(|all| all.insert(asked.clone()));
    }));
    let cluster = Cluster::with(|options| {
        options.roles = roles();
        options.runtime_config = everything();
        options.witness = Some(witness);
        options.enable_admission_plugins = vec!["OwnerReferencesPermissionEnforcement".to_owned()];
    })
    .await;
    let linker = cluster.linker();
    schedule(&cluster, linker(User::new("system:kube-scheduler", Vec::<String>::new())));
    let reader = linker(User::new("system:kube-controller-manager", Vec::<String>::new()));
    let mut options = skiff_controllers::Options::over(reader);
    options.links = Arc::new(move |name| linker(User::service_account("kube-system", name)));
    options.node_grace = Duration::from_secs(5);
    options.cluster_cidrs = vec!["10.244.0.0/23".parse().unwrap()];
    options.finished_pods = 0;
    options.root_ca = Some("a certificate".to_owned());
    options.signer = Some(Arc::new(Authority::create("signer").unwrap()));
    skiff_controllers::build(options).run(cluster.tasks());
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn each_controller_uses_what_its_row_declares_and_asks_for_nothing_else() {
    let seen: Arc<Seen> = Arc::new(watch::channel(BTreeSet::new()).0);
    let cluster = watched(&seen).await;
    scenes::play(&cluster).await;

    let rights = Right::all();
    let missing = |seen: &BTreeSet<Asked>| {
        let used = |right: &&Right| seen.iter().any(|asked| right.covers(asked));
        let wanted = rights.iter().filter(|right| !right.repeats() && !right.excused());
        wanted.filter(|right| !used(right)).copied().collect::<Vec<_>>()
    };
    let mut follow = seen.subscribe();
    let all_used = follow.wait_for(|seen| missing(seen).is_empty());
    // Whoever waits so long waits for ever.
    let all_used = tokio::time::timeout(Duration::from_secs(60), all_used).await.is_ok();
    assert!(all_used, "rights that nobody uses: {:#?}", missing(&seen.borrow()));

    let seen = seen.borrow().clone();
    // Others are asked about as well: reviews of what somebody may.
    let ours = |asked: &&Asked| {
        asked.user.starts_with("system:serviceaccount:kube-system:") || asked.user.starts_with("system:kube-")
    };
    let refused: Vec<&Asked> = seen.iter().filter(ours).filter(|asked| !asked.allowed).collect();
    assert!(refused.is_empty(), "asked for without a right to it: {refused:#?}");
    let used_after_all: Vec<_> = rights
        .iter()
        .filter(|right| right.excused() && seen.iter().any(|asked| right.covers(asked)))
        .collect();
    assert!(used_after_all.is_empty(), "no excuse is needed for {used_after_all:#?}");
    cluster.stop().await;
}
