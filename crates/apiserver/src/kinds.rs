//! The table of built-in kinds: one row and one file each; everything else about a kind derives from its row.
//!
//! A kind's file implements [`Kind`] (what is particular: defaults, validation, columns) and holds one `Row` constant.
//! [`row`] erases the Rust type once; verbs, registry, discovery, OpenAPI, printing and watch work on rows and on
//! [`Draft`]s and never name a kind. To add a kind: its file, its `mod` line and its place in [`ALL`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_api::names;
use skiff_api::resource::{Readable, Scoped};
use skiff_api::{Errors, Object};

use crate::api::Api;
use crate::user::User;

pub mod admissionregistration;
pub(crate) mod amounts;
pub mod apiextensions;
pub mod apiregistration;
pub mod apiserverinternal;
pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub(crate) mod check;
pub mod coordination;
pub mod core;
pub mod discovery;
mod draft;
pub mod events;
pub mod flowcontrol;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scheduling;
mod schemas;
pub mod storage;
pub mod storagemigration;
mod table;
mod workload;

pub use crate::conversion::{Between, Conversion};
pub use draft::{Draft, Frozen, Ops};
pub(crate) use table::age;
pub use table::{Column, Heading, Printer, Table};

/// Every built-in kind, in the order in which discovery lists them.
pub static ALL: &[&Row] = &[
    &core::component_status::KIND,
    &core::config_map::KIND,
    &core::endpoints::KIND,
    &core::event::KIND,
    &core::limit_range::KIND,
    &core::namespace::KIND,
    &core::node::KIND,
    &core::persistent_volume::KIND,
    &core::persistent_volume_claim::KIND,
    &core::pod::KIND,
    &core::pod_template::KIND,
    &core::replication_controller::KIND,
    &core::resource_quota::KIND,
    &core::secret::KIND,
    &core::service_account::KIND,
    &core::service::KIND,
    &apiextensions::custom_resource_definition::KIND,
    &apiregistration::api_service::KIND,
    &admissionregistration::mutating_admission_policy::KIND,
    &admissionregistration::mutating_admission_policy_binding::KIND,
    &admissionregistration::mutating_webhook_configuration::KIND,
    &admissionregistration::validating_admission_policy::KIND,
    &admissionregistration::validating_admission_policy_binding::KIND,
    &admissionregistration::validating_webhook_configuration::KIND,
    &apiserverinternal::storage_version::KIND,
    &apps::controller_revision::KIND,
    &apps::daemon_set::KIND,
    &apps::deployment::KIND,
    &apps::replica_set::KIND,
    &apps::stateful_set::KIND,
    &autoscaling::v1::KIND,
    &autoscaling::horizontal_pod_autoscaler::KIND,
    &batch::cron_job::KIND,
    &batch::job::KIND,
    &certificates::certificate_signing_request::KIND,
    &certificates::cluster_trust_bundle::KIND,
    &certificates::pod_certificate_request::KIND,
    &coordination::lease::KIND,
    &discovery::endpoint_slice::KIND,
    &events::event::KIND,
    &flowcontrol::flow_schema::KIND,
    &flowcontrol::priority_level_configuration::KIND,
    &networking::ingress::KIND,
    &networking::ingress_class::KIND,
    &networking::ip_address::KIND,
    &networking::network_policy::KIND,
    &networking::service_cidr::KIND,
    &node::runtime_class::KIND,
    &policy::pod_disruption_budget::KIND,
    &rbac::cluster_role::KIND,
    &rbac::cluster_role_binding::KIND,
    &rbac::role::KIND,
    &rbac::role_binding::KIND,
    &resource::device_class::KIND,
    &resource::device_taint_rule::KIND,
    &resource::resource_claim::KIND,
    &resource::resource_claim_template::KIND,
    &resource::resource_slice::KIND,
    &scheduling::pod_group::KIND,
    &scheduling::priority_class::KIND,
    &scheduling::workload::KIND,
    &storage::csi_driver::KIND,
    &storage::csi_node::KIND,
    &storage::csi_storage_capacity::KIND,
    &storage::storage_class::KIND,
    &storage::volume_attachment::KIND,
    &storage::volume_attributes_class::KIND,
    &storagemigration::storage_version_migration::KIND,
];

/// What is particular to a kind. All methods do nothing by default.
pub trait Kind: Readable + k8s_openapi::ListableResource + schemars::JsonSchema {
    /// Fills in what the client left out (upstream's `zz_generated.defaults.go` and strategies).
    fn set_defaults(&mut self) {}
    /// Before a create, after defaulting: clears what clients may not set, such as status.
    fn prepare_create(&mut self) {}
    /// Before a create, last of all: writes down who asks, for kinds that say so.
    fn requested_by(&mut self, _user: &User) {}
    /// Before an update of the object itself: takes from `old` what this update may not touch, such as status.
    fn prepare_update(&mut self, _old: &Self) {}
    /// Before an update of the status subresource: takes everything but the status from `old`. Metadata is already the
    /// old one's, with what a status update may change.
    fn prepare_status(&mut self, _old: &Self) {}
    /// Before an update of the approval subresource, as [`Kind::prepare_status`].
    fn prepare_approval(&mut self, _old: &Self) {}
    /// After [`Kind::prepare_status`] and [`Kind::prepare_approval`]: fills in when what is new there came about.
    fn date(&mut self, _old: &Self, _now: &Time) {}
    /// True if the desired state differs, so that `metadata.generation` must grow.
    fn generation_changed(&self, _old: &Self) -> bool {
        false
    }
    /// Finds what is wrong with the whole object; metadata is checked by the registry.
    fn validate(&self, _errors: &mut Errors) {}
    /// Finds what only a new object may not have; [`Kind::validate`] has run as well.
    fn validate_create(&self, _errors: &mut Errors) {}
    /// Finds what an update may not do; [`Kind::validate`] has run as well.
    fn validate_update(&self, _old: &Self, _errors: &mut Errors) {}
    /// Finds what a status update may not do.
    fn validate_status(&self, _old: &Self, _errors: &mut Errors) {}
    /// Finds what an approval may not do.
    fn validate_approval(&self, _old: &Self, _errors: &mut Errors) {}
    /// Warnings for the client about legal but doubtful input.
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        Vec::new()
    }
    /// How long a deletion may take, in seconds, given what the client asked for; nothing for kinds that go at once.
    /// Called before [`Kind::begin_deletion`]; pods alone answer it.
    fn grace(&self, _requested: Option<i64>) -> Option<i64> {
        None
    }
    /// What changes in an object that stays for now when its deletion begins (a namespace's phase).
    fn begin_deletion(&mut self) {}
    /// True while something besides `metadata.finalizers` holds a deleted object (a namespace's `spec.finalizers`).
    fn held(&self) -> bool {
        false
    }
    /// Columns after `Name` (or all columns, where [`Row::name_first`] is off); by default `Age` alone.
    fn columns() -> Vec<Column<Self>> {
        vec![Column::age()]
    }
    /// Its table: by default those columns, made from the typed object.
    fn table() -> Table {
        Table::of(Self::columns())
    }
    /// A selectable field that is known without decoding the object; nothing if it is not.
    fn known_field<'a>(_object: &'a Object, _name: &str) -> Option<&'a str> {
        None
    }
    /// Selectable fields besides `metadata.name` and `metadata.namespace`, all of them on every object, empty if unset.
    fn fields(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// The verbs of most kinds, as discovery lists them.
pub const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What a deletion does to dependents that the client does not mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// They go too.
    Go,
    /// They stay, as they always have in the kind's version.
    Stay,
    /// They stay, and the client is warned in these words.
    StayWith(&'static str),
}

/// Makes the objects of a kind that is answered and not kept.
pub(crate) type Computed = fn(&Api) -> Vec<Object>;

/// All there is to know about a kind, its type erased.
pub struct Row {
    /// API group; empty for core.
    pub group: &'static str,
    /// The version served and stored.
    pub version: &'static str,
    /// Whether it is served unless somebody says otherwise (`served.rs`): stable versions are.
    pub served: bool,
    /// `Pod`.
    pub kind: &'static str,
    /// `PodList`.
    pub list_kind: &'static str,
    /// `pods`.
    pub plural: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// `po`.
    pub short: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// What can be done with it, in discovery's words and order.
    pub verbs: &'static [&'static str],
    /// Where its objects come from, for a kind that is answered and not kept.
    pub(crate) computed: Option<Computed>,
    /// Whether there is a `status` subresource.
    pub status: bool,
    /// Whether there is a `scale` subresource, for kinds whose `spec.replicas` says how many.
    pub scale: bool,
    /// What is wrong with a name, if anything; upstream's rule for the kind.
    pub name_rule: fn(&str) -> Vec<String>,
    /// Whether a deletion may take time (`deletionGracePeriodSeconds`): pods only.
    pub graceful: bool,
    /// What becomes of dependents when the client does not say (upstream's `DefaultGarbageCollectionPolicy`).
    pub dependents: Dependents,
    /// Whether PUT creates what is not there (upstream's `AllowCreateOnUpdate`).
    pub upsert: bool,
    /// Whether an update may go without a `resourceVersion` (upstream's `AllowUnconditionalUpdate`).
    pub unconditional_update: bool,
    /// Whether a deletion answers with the object instead of a Status (upstream's `ReturnDeletedObject`).
    pub answer_deleted: bool,
    /// Whether tables begin with the column `Name`; events have it last, and only when wide.
    pub name_first: bool,
    /// How stored objects become objects of this version and back, for a further served version of a kind; see
    /// `conversion.rs`.
    pub converts: Option<&'static dyn Conversion>,
    /// The erased functions.
    pub ops: &'static dyn Ops,
}

/// The row of `K` with the usual settings; a kind's file overrides what differs.
pub const fn row<K: Kind>() -> Row {
    Row {
        group: K::GROUP,
        version: K::VERSION,
        served: is_stable(K::VERSION),
        kind: K::KIND,
        list_kind: K::LIST_KIND,
        plural: K::URL_PATH_SEGMENT,
        namespaced: <K::Scope as Scoped>::NAMESPACED,
        short: &[],
        categories: &[],
        verbs: VERBS,
        computed: None,
        status: false,
        scale: false,
        name_rule: names::dns1123_subdomain,
        graceful: false,
        dependents: Dependents::Go,
        upsert: false,
        unconditional_update: true,
        answer_deleted: false,
        name_first: true,
        converts: None,
        ops: &draft::Typed::<K>::NEW,
    }
}

/// `v1`, and not `v1beta1` or `v1alpha1`.
pub(crate) const fn is_stable(version: &str) -> bool {
    let mut rest = version.as_bytes();
    while let [letter, more @ ..] = rest {
        // Of the whole word, `v` is the only letter.
        if !letter.is_ascii_digit() && rest.len() != version.len() {
            return false;
        }
        rest = more;
    }
    true
}

impl Row {
    /// The row's resource.
    pub fn resource(&self) -> skiff_api::Resource {
        skiff_api::Resource {
            group: self.group.into(),
            version: self.version.into(),
            plural: self.plural.into(),
            kind: self.kind.into(),
            namespaced: self.namespaced,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
