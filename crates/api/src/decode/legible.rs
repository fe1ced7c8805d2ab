//! The types that are read from JSON, and where the code that does so is compiled.
//!
//! Reading code is generic over the source it reads from, so that every crate that reads a pod would get a copy of its own
//! of all that a pod consists of: half a megabyte, and seconds of compiling. A type that is [`Legible`] is read by one
//! function that is compiled where it is declared, for the kinds of the API here.

use super::Notes;

/// A type that is read from JSON by a function of its own.
pub trait Legible: Sized {
    /// Reads one, noting on the way what [`Notes`] ask for.
    ///
    /// # Errors
    /// If the JSON does not fit.
    fn read(json: &[u8], notes: &mut Notes) -> serde_json::Result<Self>;
}

/// An answer that nobody looks at.
impl Legible for () {
    fn read(_: &[u8], _: &mut Notes) -> serde_json::Result<Self> {
        Ok(())
    }
}

/// Declares types legible, and compiles here how they are read.
#[macro_export]
macro_rules! legible {
    ($($of:ty),+ $(,)?) => {$(
        impl $crate::decode::Legible for $of {
            fn read(json: &[u8], notes: &mut $crate::decode::Notes) -> serde_json::Result<Self> {
                $crate::decode::read(json, notes)
            }
        }
    )+};
}

macro_rules! kinds {
    ($($module:path: $($kind:ident),+;)+) => {$(
        const _: () = {
            use $module as of;
            legible!($(of::$kind),+);
        };
    )+};
}

kinds! {
    k8s_openapi::api::admissionregistration::v1: MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration;
    k8s_openapi::api::apiserverinternal::v1alpha1: StorageVersion;
    k8s_openapi::api::apps::v1: ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet;
    k8s_openapi::api::autoscaling::v1: HorizontalPodAutoscaler;
    k8s_openapi::api::autoscaling::v2: HorizontalPodAutoscaler;
    k8s_openapi::api::batch::v1: CronJob, Job;
    k8s_openapi::api::certificates::v1: CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest;
    k8s_openapi::api::coordination::v1: Lease;
    k8s_openapi::api::core::v1: ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount;
    k8s_openapi::api::discovery::v1: EndpointSlice;
    k8s_openapi::api::events::v1: Event;
    k8s_openapi::api::flowcontrol::v1: FlowSchema, PriorityLevelConfiguration;
    k8s_openapi::api::networking::v1: IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR;
    k8s_openapi::api::node::v1: RuntimeClass;
    k8s_openapi::api::policy::v1: PodDisruptionBudget;
    k8s_openapi::api::rbac::v1: ClusterRole, ClusterRoleBinding, Role, RoleBinding;
    k8s_openapi::api::resource::v1: DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice;
    k8s_openapi::api::scheduling::v1: PriorityClass;
    k8s_openapi::api::scheduling::v1beta1: PodGroup, Workload;
    k8s_openapi::api::storage::v1: CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass;
    k8s_openapi::api::storagemigration::v1: StorageVersionMigration;
    k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1: CustomResourceDefinition;
    k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1: APIService;
}

// What is no object, but sent or answered; and parts of objects that are read by themselves.
kinds! {
    k8s_openapi::api::authentication::v1: SelfSubjectReview, TokenRequest, TokenReview;
    k8s_openapi::api::authorization::v1:
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview;
    k8s_openapi::api::autoscaling::v2:
        HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerCondition, MetricSpec, MetricStatus;
    k8s_openapi::api::core::v1: Binding, PodTemplateSpec;
    k8s_openapi::api::policy::v1: Eviction;
}

legible! {
    serde_json::Value,
    k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions,
    k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Status,
    k8s_openapi::api::autoscaling::v1::Scale,
}
