//! The table of controllers.

use skiff_api::Readable;
use skiff_client::controller::{self, How};

use crate::{
    Settings, autoscale, bootstrap_signer, certificates, cron_job, daemon, deployment, disruption,
    endpoint_slices, endpoints, identity_leases, job, load_balancers, namespaces, node_ipam, node_lifecycle,
    node_ttl, pod_gc, policy_types, replica_set, replication, resource_claims, role_aggregation, root_ca,
    service_accounts, service_cidrs, slice_mirroring, stateful, storage_migration, storage_versions,
    taint_eviction, token_cleaner, token_secrets, ttl_after_finished, volumes,
};

pub(crate) type Row = controller::Row<Settings>;
pub(crate) type Ctx = controller::Ctx<Settings>;
pub(crate) type Wake = controller::Wake<Settings>;

/// Every controller.
pub(crate) static ALL: &[&Row] = &[
    &certificates::approving::CONTROLLER,
    &certificates::cleaning::CONTROLLER,
    &certificates::pod_requests::CONTROLLER,
    &certificates::signing::CONTROLLER,
    &autoscale::CONTROLLER,
    &bootstrap_signer::CONTROLLER,
    &cron_job::CONTROLLER,
    &daemon::CONTROLLER,
    &deployment::CONTROLLER,
    &disruption::CONTROLLER,
    &endpoint_slices::CONTROLLER,
    &endpoints::CONTROLLER,
    &identity_leases::CONTROLLER,
    &job::CONTROLLER,
    &load_balancers::CONTROLLER,
    &namespaces::CONTROLLER,
    &node_ipam::CONTROLLER,
    &node_lifecycle::CONTROLLER,
    &node_ttl::CONTROLLER,
    &pod_gc::CONTROLLER,
    &policy_types::CONTROLLER,
    &replica_set::CONTROLLER,
    &replication::CONTROLLER,
    &resource_claims::CONTROLLER,
    &role_aggregation::CONTROLLER,
    &root_ca::CONTROLLER,
    &service_accounts::CONTROLLER,
    &service_cidrs::CONTROLLER,
    &slice_mirroring::CONTROLLER,
    &stateful::CONTROLLER,
    &storage_migration::CONTROLLER,
    &storage_versions::CONTROLLER,
    &taint_eviction::CONTROLLER,
    &token_cleaner::CONTROLLER,
    &token_secrets::CONTROLLER,
    &ttl_after_finished::CONTROLLER,
    &volumes::attach::CONTROLLER,
    &volumes::attributes::CONTROLLER,
    &volumes::binder::CONTROLLER,
    &volumes::ephemeral::CONTROLLER,
    &volumes::expand::CONTROLLER,
    &volumes::local_path::CONTROLLER,
    &volumes::protection::CLAIMS,
    &volumes::protection::VOLUMES,
];

/// Changes of `K` wake the keys that `H` names.
pub(crate) const fn on<K: Readable, H: How<Settings>>() -> Wake {
    controller::on::<K, Settings, H>()
}
