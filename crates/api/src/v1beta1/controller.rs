//! ReplicationController: so many pods of this form.

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Row, row};
use super::manifest::ContainerManifest;
use super::meta::{TypeMeta, keep_map, keep_text};
use super::pod::PodState;
use super::validate;
use super::value::{self, Map};
use crate::errors::FieldError;

static ROW: Row = Row {
    segment: "replicationControllers",
    kind: "ReplicationController",
    list_kind: "ReplicationControllerList",
    plural: "replicationcontrollers",
    word: "replicationController",
    free_names: true,
    paths: &[
        ("spec.template.metadata.labels", "desiredState.podTemplate.labels"),
        ("spec.template.metadata", "desiredState.podTemplate"),
        ("spec.template.spec.nodeSelector", "desiredState.podTemplate.nodeSelector"),
        ("spec.template.spec", "desiredState.podTemplate.desiredState.manifest"),
        ("spec.template", "desiredState.podTemplate"),
        ("spec.selector", "desiredState.replicaSelector"),
        ("spec", "desiredState"),
        ("status", "currentState"),
    ],
    ..row::<ReplicationController>()
};

/// So many pods of this form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplicationController {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// v1's spec.
    pub desired_state: ControllerState,
    /// Only `replicas` is used.
    pub current_state: ControllerState,
    /// Its labels.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub labels: Map,
}

/// One type for both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ControllerState {
    /// How many.
    pub replicas: i64,
    /// Which pods count; `null` where unset.
    pub replica_selector: Option<Map>,
    /// What new ones look like.
    pub pod_template: PodTemplate,
}

/// What new pods look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodTemplate {
    /// Only the manifest is used; its id is blank.
    pub desired_state: PodState,
    /// Which minions they may run on (L).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub node_selector: Map,
    /// Who they are towards the API (L).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account: String,
    /// Their labels.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub labels: Map,
    /// Their annotations (L).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub annotations: Map,
}

impl PodTemplate {
    fn from_v1(template: &v1::PodTemplateSpec) -> Self {
        let empty = v1::PodSpec::default();
        let spec = template.spec.as_ref().unwrap_or(&empty);
        let meta = template.metadata.as_ref();
        let account = spec.service_account_name.clone().filter(|account| account != "default");
        Self {
            desired_state: PodState { manifest: ContainerManifest::from_v1(spec), ..PodState::default() },
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            service_account: account.unwrap_or_default(),
            labels: meta.and_then(|meta| meta.labels.clone()).unwrap_or_default(),
            annotations: meta.and_then(|meta| meta.annotations.clone()).unwrap_or_default(),
        }
    }

    fn to_v1(&self) -> v1::PodTemplateSpec {
        v1::PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: value::some_map(&self.labels),
                annotations: value::some_map(&self.annotations),
                ..ObjectMeta::default()
            }),
            spec: Some(v1::PodSpec {
                node_selector: value::some_map(&self.node_selector),
                service_account_name: value::some(&self.service_account),
                ..self.desired_state.manifest.to_v1()
            }),
        }
    }

    fn keep(&mut self, shown: &Self) {
        self.desired_state.manifest.keep(&shown.desired_state.manifest);
        keep_map(&mut self.node_selector, &shown.node_selector);
        keep_map(&mut self.annotations, &shown.annotations);
        keep_text(&mut self.service_account, &shown.service_account);
    }
}

impl Kind for ReplicationController {
    type V1 = v1::ReplicationController;
    const ROW: &'static Row = &ROW;

    fn meta(&self) -> &TypeMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut TypeMeta {
        &mut self.meta
    }
    fn labels(&self) -> Map {
        self.labels.clone()
    }

    fn from_v1(controller: &v1::ReplicationController) -> Self {
        let empty = v1::ReplicationControllerSpec::default();
        let spec = controller.spec.as_ref().unwrap_or(&empty);
        Self {
            meta: TypeMeta::from_v1(&controller.metadata),
            desired_state: ControllerState {
                replicas: spec.replicas.unwrap_or(1).into(),
                replica_selector: spec.selector.clone(),
                pod_template: spec.template.as_ref().map(PodTemplate::from_v1).unwrap_or_default(),
            },
            current_state: ControllerState {
                replicas: controller.status.as_ref().map_or(0, |status| status.replicas.into()),
                ..ControllerState::default()
            },
            labels: controller.metadata.labels.clone().unwrap_or_default(),
        }
    }

    fn to_v1(&self) -> v1::ReplicationController {
        let desired = &self.desired_state;
        let current = self.current_state.replicas;
        v1::ReplicationController {
            metadata: self.meta.to_v1(&self.labels),
            spec: Some(v1::ReplicationControllerSpec {
                // Absent was zero in 2014 and is one in v1: always said.
                replicas: Some(value::clamp(desired.replicas)),
                selector: desired.replica_selector.clone().filter(|selector| !selector.is_empty()),
                template: Some(desired.pod_template.to_v1()),
                ..v1::ReplicationControllerSpec::default()
            }),
            status: (current != 0).then(|| v1::ReplicationControllerStatus {
                replicas: value::clamp(current),
                ..v1::ReplicationControllerStatus::default()
            }),
        }
    }

    fn prepare(&mut self) {
        let manifest = &mut self.desired_state.pod_template.desired_state.manifest;
        manifest.id.clear();
        manifest.uuid.clear();
        self.current_state = ControllerState::default();
    }

    fn keep(&mut self, shown: &Self) {
        self.meta.keep(&shown.meta);
        self.desired_state.pod_template.keep(&shown.desired_state.pod_template);
        if self.desired_state.replica_selector.as_ref().is_none_or(Map::is_empty) {
            self.desired_state.replica_selector.clone_from(&shown.desired_state.replica_selector);
        }
        self.current_state = shown.current_state.clone();
    }

    fn validate(&self, faults: &mut Vec<FieldError>) {
        validate::free_name(&self.meta, faults);
        let manifest = &self.desired_state.pod_template.desired_state.manifest;
        let path = "desiredState.podTemplate.desiredState.manifest";
        validate::manifest(path, manifest, faults);
        validate::read_only_disks(path, manifest, faults);
    }
}
