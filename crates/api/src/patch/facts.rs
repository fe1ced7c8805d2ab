//! Facts about API fields that the Rust types do not carry: how lists and maps merge.
//!
//! k8s-openapi's schemas say nothing of merge keys and list types, so they stand here, by definition and field, as
//! Kubernetes 1.37 publishes them. Strategic merge, server-side apply and the served OpenAPI documents all read this
//! table. A test compares it with the published definitions where those are at hand (`SKIFF_DEFINITIONS`).
//!
//! Notation, one definition up to the semicolon: `field=fact,fact`. `map:KEYS`, `set`, `atomic`: list type (or map
//! type, on a map field). `merge:KEY`, `merge`, `retain`, `merge-retain:KEY`, `replace`: patch strategy and merge key. The
//! field `.` is the definition itself.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What is known of one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// `x-kubernetes-list-type` on a list: `map`, `set` or `atomic`; `x-kubernetes-map-type` on a map.
    pub topology: Option<&'static str>,
    /// `x-kubernetes-list-map-keys`, joined by `+`.
    map_keys: Option<&'static str>,
    /// Strategic merge joins the two sides instead of replacing.
    pub merge: bool,
    /// Strategic merge drops members that the patch's `$retainKeys` does not list.
    pub retain_keys: bool,
    /// Strategic merge replaces the whole map.
    pub replace: bool,
    /// The member by which list items are told apart in strategic merge.
    pub merge_key: Option<&'static str>,
}

impl Fact {
    /// The members by which list items are told apart in server-side apply.
    pub fn map_keys(&self) -> impl Iterator<Item = &'static str> {
        self.map_keys.into_iter().flat_map(|keys| keys.split('+'))
    }

    /// `x-kubernetes-patch-strategy`, if there is one.
    pub fn strategy(&self) -> Option<&'static str> {
        match (self.merge, self.retain_keys, self.replace) {
            (true, true, _) => Some("merge,retainKeys"),
            (true, false, _) => Some("merge"),
            (false, true, _) => Some("retainKeys"),
            (false, false, true) => Some("replace"),
            (false, false, false) => None,
        }
    }
}

/// What is known of `field` of `definition` (`io.k8s.api.core.v1.PodSpec`).
pub fn of(definition: &str, field: &str) -> Fact {
    FACTS.get(definition).and_then(|fields| fields.get(field)).copied().unwrap_or_default()
}

/// The value that `field` has when it is left out, where lists tell items apart by it. Clients see it in OpenAPI.
pub fn default_of(definition: &str, field: &str) -> Option<&'static str> {
    DEFAULTS.iter().find(|(of, at, _)| (*of, *at) == (definition, field)).map(|(.., default)| *default)
}

const DEFAULTS: &[(&str, &str, &str)] = &[
    ("io.k8s.api.core.v1.ContainerPort", "protocol", "TCP"),
    ("io.k8s.api.core.v1.ServicePort", "protocol", "TCP"),
];

/// Every definition of the table with its fields, for documents and tests.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str, Fact)> {
    FACTS
        .iter()
        .flat_map(|(definition, fields)| fields.iter().map(|(field, fact)| (&**definition, *field, *fact)))
}

type Fields = HashMap<&'static str, Fact>;

static FACTS: LazyLock<HashMap<String, Fields>> = LazyLock::new(|| {
    let mut facts = HashMap::new();
    for (package, text) in TABLE {
        for definition in text.split(';') {
            let mut words = definition.split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            let fields =
                words.filter_map(|word| word.split_once('=')).map(|(field, facts)| (field, parse(facts)));
            facts.insert(format!("{package}{name}"), fields.collect());
        }
    }
    facts
});

fn parse(facts: &'static str) -> Fact {
    let mut fact = Fact::default();
    for word in facts.split(',') {
        let (word, keys) = word.split_once(':').map_or((word, None), |(word, keys)| (word, Some(keys)));
        match word {
            "merge" => (fact.merge, fact.merge_key) = (true, keys),
            "merge-retain" => (fact.merge, fact.retain_keys, fact.merge_key) = (true, true, keys),
            "retain" => fact.retain_keys = true,
            "replace" => fact.replace = true,
            topology => (fact.topology, fact.map_keys) = (Some(topology), keys),
        }
    }
    fact
}

const TABLE: &[(&str, &str)] = &[
    (
        "io.k8s.api.core.v1.",
        "
        Capabilities add=atomic drop=atomic;
        CephFSPersistentVolumeSource monitors=atomic;
        CephFSVolumeSource monitors=atomic;
        ComponentStatus conditions=map:type,merge:type;
        ConfigMapKeySelector .=atomic;
        ConfigMapProjection items=atomic;
        ConfigMapVolumeSource items=atomic;
        Container args=atomic command=atomic env=map:name,merge:name envFrom=atomic
            ports=map:containerPort+protocol,merge:containerPort resizePolicy=atomic
            restartPolicyRules=atomic volumeDevices=map:devicePath,merge:devicePath
            volumeMounts=map:mountPath,merge:mountPath;
        ContainerImage names=atomic;
        ContainerRestartRuleOnExitCodes values=set;
        ContainerStatus allocatedResourcesStatus=map:name,merge:name
            volumeMounts=map:mountPath,merge:mountPath;
        DownwardAPIProjection items=atomic;
        DownwardAPIVolumeSource items=atomic;
        EndpointAddress .=atomic;
        EndpointPort .=atomic;
        EndpointSubset addresses=atomic notReadyAddresses=atomic ports=atomic;
        Endpoints subsets=atomic;
        EphemeralContainer args=atomic command=atomic env=map:name,merge:name envFrom=atomic
            ports=map:containerPort+protocol,merge:containerPort resizePolicy=atomic
            restartPolicyRules=atomic volumeDevices=map:devicePath,merge:devicePath
            volumeMounts=map:mountPath,merge:mountPath;
        EvictionResponder .=atomic;
        ExecAction command=atomic;
        FCVolumeSource targetWWNs=atomic wwids=atomic;
        FileKeySelector .=atomic;
        HTTPGetAction httpHeaders=atomic;
        HostAlias hostnames=atomic;
        ISCSIPersistentVolumeSource portals=atomic;
        ISCSIVolumeSource portals=atomic;
        LimitRangeSpec limits=atomic;
        LinuxContainerUser supplementalGroups=atomic;
        LoadBalancerIngress ports=atomic;
        LoadBalancerStatus ingress=atomic;
        LocalObjectReference .=atomic;
        NamespaceSpec finalizers=atomic;
        NamespaceStatus conditions=map:type,merge:type;
        NodeAffinity preferredDuringSchedulingIgnoredDuringExecution=atomic;
        NodeAllocatableResourceClaimStatus containers=set mapping=map:name,merge:name
            overhead=map:name,merge:name;
        NodePodPreemptionPolicy disableResizePreemption=set;
        NodeSelector .=atomic nodeSelectorTerms=atomic;
        NodeSelectorRequirement values=atomic;
        NodeSelectorTerm .=atomic matchExpressions=atomic matchFields=atomic;
        NodeSpec podCIDRs=set,merge taints=atomic;
        NodeStatus addresses=map:type,merge:type conditions=map:type,merge:type declaredFeatures=atomic
            images=atomic runtimeHandlers=atomic volumesAttached=atomic volumesInUse=atomic;
        ObjectFieldSelector .=atomic;
        ObjectReference .=atomic;
        PersistentVolumeClaimSpec accessModes=atomic;
        PersistentVolumeClaimStatus accessModes=atomic allocatedResourceStatuses=granular
            conditions=map:type,merge:type;
        PersistentVolumeSpec accessModes=atomic claimRef=granular mountOptions=atomic;
        PodAffinity preferredDuringSchedulingIgnoredDuringExecution=atomic
            requiredDuringSchedulingIgnoredDuringExecution=atomic;
        PodAffinityTerm matchLabelKeys=atomic mismatchLabelKeys=atomic namespaces=atomic;
        PodAntiAffinity preferredDuringSchedulingIgnoredDuringExecution=atomic
            requiredDuringSchedulingIgnoredDuringExecution=atomic;
        PodDNSConfig nameservers=atomic options=atomic searches=atomic;
        PodExtendedResourceClaimStatus requestMappings=atomic;
        PodSecurityContext supplementalGroups=atomic sysctls=atomic;
        PodSpec containers=map:name,merge:name ephemeralContainers=map:name,merge:name
            evictionResponders=map:name,merge:name hostAliases=map:ip,merge:ip
            imagePullSecrets=map:name,merge:name initContainers=map:name,merge:name nodeSelector=atomic
            readinessGates=atomic resourceClaims=map:name,merge-retain:name
            schedulingGates=map:name,merge:name tolerations=atomic
            topologySpreadConstraints=map:topologyKey+whenUnsatisfiable,merge:topologyKey
            volumes=map:name,merge-retain:name;
        PodStatus conditions=map:type,merge:type containerStatuses=atomic ephemeralContainerStatuses=atomic
            hostIPs=atomic,merge:ip initContainerStatuses=atomic
            nodeAllocatableResourceClaimStatuses=map:resourceClaimName,merge:resourceClaimName
            podIPs=map:ip,merge:ip resourceClaimStatuses=map:name,merge-retain:name volumeHealth=map:name;
        PodVolumeHealth healthConditions=map:status+reason,merge:status;
        ProjectedVolumeSource sources=atomic;
        RBDPersistentVolumeSource monitors=atomic;
        RBDVolumeSource monitors=atomic;
        ReplicationControllerSpec selector=atomic;
        ReplicationControllerStatus conditions=map:type,merge:type;
        ResourceFieldSelector .=atomic;
        ResourceQuotaSpec scopes=atomic;
        ResourceRequirements claims=map:name;
        ResourceStatus resources=map:resourceID;
        ScopeSelector .=atomic matchExpressions=atomic;
        ScopedResourceSelectorRequirement values=atomic;
        SecretKeySelector .=atomic;
        SecretProjection items=atomic;
        SecretReference .=atomic;
        SecretVolumeSource items=atomic;
        ServiceAccount imagePullSecrets=atomic secrets=map:name,merge:name;
        ServiceSpec clusterIPs=atomic externalIPs=atomic ipFamilies=atomic loadBalancerSourceRanges=atomic
            ports=map:port+protocol,merge:port selector=atomic;
        ServiceStatus conditions=map:type,merge:type;
        TopologySelectorLabelRequirement values=atomic;
        TopologySelectorTerm .=atomic matchLabelExpressions=atomic;
        TopologySpreadConstraint matchLabelKeys=atomic;
        TypedLocalObjectReference .=atomic;
        VolumeHealthStatus healthConditions=map:status+reason,merge:status;
        VolumeMount bindMountOptions=set;
    ",
    ),
    (
        "io.k8s.api.admissionregistration.v1.",
        "
        MatchResources .=atomic excludeResourceRules=atomic resourceRules=atomic;
        MutatingAdmissionPolicySpec matchConditions=map:name,merge:name mutations=atomic variables=atomic;
        MutatingWebhook admissionReviewVersions=atomic matchConditions=map:name,merge:name rules=atomic;
        MutatingWebhookConfiguration webhooks=map:name,merge:name;
        NamedRuleWithOperations .=atomic apiGroups=atomic apiVersions=atomic operations=atomic
            resourceNames=atomic resources=atomic;
        ParamKind .=atomic;
        ParamRef .=atomic;
        RuleWithOperations apiGroups=atomic apiVersions=atomic operations=atomic resources=atomic;
        TypeChecking expressionWarnings=atomic;
        ValidatingAdmissionPolicyBindingSpec validationActions=set;
        ValidatingAdmissionPolicySpec auditAnnotations=atomic matchConditions=map:name,merge:name
            validations=atomic variables=map:name,merge:name;
        ValidatingAdmissionPolicyStatus conditions=map:type;
        ValidatingWebhook admissionReviewVersions=atomic matchConditions=map:name,merge:name rules=atomic;
        ValidatingWebhookConfiguration webhooks=map:name,merge:name;
        Variable .=atomic;
    ",
    ),
    (
        "io.k8s.api.apps.v1.",
        "
        DaemonSetStatus conditions=map:type,merge:type;
        DeploymentSpec strategy=retain;
        DeploymentStatus conditions=map:type,merge:type;
        ReplicaSetStatus conditions=map:type,merge:type;
        StatefulSetSpec volumeClaimTemplates=atomic;
        StatefulSetStatus conditions=map:type,merge:type;
    ",
    ),
    (
        "io.k8s.api.authentication.v1.",
        "
        TokenRequestSpec audiences=atomic;
        TokenReviewSpec audiences=atomic;
        TokenReviewStatus audiences=atomic;
        UserInfo groups=atomic;
    ",
    ),
    (
        "io.k8s.api.authorization.v1.",
        "
        FieldSelectorAttributes requirements=atomic;
        LabelSelectorAttributes requirements=atomic;
        NonResourceRule nonResourceURLs=atomic verbs=atomic;
        ResourceRule apiGroups=atomic resourceNames=atomic resources=atomic verbs=atomic;
        SubjectAccessReviewSpec groups=atomic;
        SubjectRulesReviewStatus nonResourceRules=atomic resourceRules=atomic;
    ",
    ),
    (
        "io.k8s.api.autoscaling.v1.",
        "
        CrossVersionObjectReference .=atomic;
    ",
    ),
    (
        "io.k8s.api.autoscaling.v2.",
        "
        HPAScalingRules policies=atomic;
        HorizontalPodAutoscalerSpec metrics=atomic;
        HorizontalPodAutoscalerStatus conditions=map:type,merge:type currentMetrics=atomic;
    ",
    ),
    (
        "io.k8s.api.batch.v1.",
        "
        CronJobStatus active=atomic;
        JobSchedulingConfiguration resourceClaims=map:name,merge:name;
        JobStatus conditions=atomic,merge:type;
        PodFailurePolicy rules=atomic;
        PodFailurePolicyOnExitCodesRequirement values=set;
        PodFailurePolicyRule onPodConditions=atomic;
        SuccessPolicy rules=atomic;
        UncountedTerminatedPods failed=set succeeded=set;
    ",
    ),
    (
        "io.k8s.api.certificates.v1.",
        "
        CertificateSigningRequestSpec groups=atomic usages=atomic;
        CertificateSigningRequestStatus conditions=map:type;
        PodCertificateRequestStatus conditions=map:type,merge:type;
    ",
    ),
    (
        "io.k8s.api.discovery.v1.",
        "
        Endpoint addresses=set;
        EndpointHints forNodes=atomic forZones=atomic;
        EndpointPort .=atomic;
        EndpointSlice endpoints=atomic ports=atomic;
    ",
    ),
    (
        "io.k8s.api.flowcontrol.v1.",
        "
        FlowSchemaSpec rules=atomic;
        FlowSchemaStatus conditions=map:type,merge:type;
        NonResourcePolicyRule nonResourceURLs=set verbs=set;
        PolicyRulesWithSubjects nonResourceRules=atomic resourceRules=atomic subjects=atomic;
        PriorityLevelConfigurationStatus conditions=map:type,merge:type;
        ResourcePolicyRule apiGroups=set namespaces=set resources=set verbs=set;
    ",
    ),
    (
        "io.k8s.api.networking.v1.",
        "
        HTTPIngressRuleValue paths=atomic;
        IPBlock except=atomic;
        IngressLoadBalancerIngress ports=atomic;
        IngressLoadBalancerStatus ingress=atomic;
        IngressSpec rules=atomic tls=atomic;
        IngressTLS hosts=atomic;
        NetworkPolicyEgressRule ports=atomic to=atomic;
        NetworkPolicyIngressRule from=atomic ports=atomic;
        NetworkPolicySpec egress=atomic ingress=atomic policyTypes=atomic;
        ServiceBackendPort .=atomic;
        ServiceCIDRSpec cidrs=atomic;
        ServiceCIDRStatus conditions=map:type,merge:type;
    ",
    ),
    (
        "io.k8s.api.node.v1.",
        "
        Scheduling nodeSelector=atomic tolerations=atomic;
    ",
    ),
    (
        "io.k8s.api.policy.v1.",
        "
        PodDisruptionBudgetSpec selector=replace;
        PodDisruptionBudgetStatus conditions=map:type,merge:type;
    ",
    ),
    (
        "io.k8s.api.rbac.v1.",
        "
        AggregationRule clusterRoleSelectors=atomic;
        ClusterRole rules=atomic;
        ClusterRoleBinding subjects=atomic;
        PolicyRule apiGroups=atomic nonResourceURLs=atomic resourceNames=atomic resources=atomic
            verbs=atomic;
        Role rules=atomic;
        RoleBinding subjects=atomic;
        RoleRef .=atomic;
        Subject .=atomic;
    ",
    ),
    (
        "io.k8s.api.resource.v1.",
        "
        AllocatedDeviceStatus conditions=map:type;
        CapacityRequestPolicy validValues=atomic;
        Device bindingConditions=atomic bindingFailureConditions=atomic consumesCounters=atomic
            taints=atomic;
        DeviceAllocationConfiguration requests=atomic;
        DeviceAllocationResult config=atomic results=atomic;
        DeviceAttribute bools=atomic ints=atomic strings=atomic versions=atomic;
        DeviceClaim config=atomic constraints=atomic requests=atomic;
        DeviceClaimConfiguration requests=atomic;
        DeviceClassSpec config=atomic selectors=atomic;
        DeviceConstraint requests=atomic;
        DeviceCounterConsumption compatibilityGroups=atomic;
        DeviceRequest firstAvailable=atomic;
        DeviceRequestAllocationResult bindingConditions=atomic bindingFailureConditions=atomic
            skipNodeOperations=set tolerations=atomic;
        DeviceSubRequest derivedAttributes=atomic selectors=atomic tolerations=atomic;
        DeviceTaintRuleStatus conditions=map:type,merge:type;
        ExactDeviceRequest derivedAttributes=atomic selectors=atomic tolerations=atomic;
        NetworkDeviceData ips=atomic;
        ResourceClaimStatus devices=map:driver+device+pool+shareID reservedFor=map:uid,merge:uid;
        ResourceSliceSpec devices=atomic sharedCounters=atomic skipNodeOperations=set;
    ",
    ),
    (
        "io.k8s.api.storage.v1.",
        "
        CSIDriverSpec tokenRequests=atomic volumeLifecycleModes=set;
        CSINodeDriver topologyKeys=atomic;
        CSINodeSpec drivers=map:name,merge:name;
        CSINodeStatus storageHealth=map:name,merge:name;
        StorageClass allowedTopologies=atomic mountOptions=atomic;
        StorageHealth healthConditions=atomic;
    ",
    ),
    (
        "io.k8s.api.scheduling.v1beta1.",
        "
        PodGroupSchedulingConstraints topology=atomic;
        PodGroupSpec resourceClaims=map:name,merge-retain:name;
        PodGroupStatus conditions=map:type,merge:type resourceClaimStatuses=map:name,merge-retain:name;
        PodGroupTemplate resourceClaims=map:name,merge-retain:name;
        WorkloadSpec compositePodGroupTemplates=map:name podGroupTemplates=map:name;
        ",
    ),
    (
        "io.k8s.api.storagemigration.v1.",
        "
        StorageVersionMigrationStatus conditions=map:type,merge:type;
    ",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.",
        "
        CustomResourceDefinitionNames categories=atomic shortNames=atomic;
        CustomResourceDefinitionSpec versions=atomic;
        CustomResourceDefinitionStatus conditions=map:type storedVersions=atomic;
        CustomResourceDefinitionVersion additionalPrinterColumns=atomic selectableFields=atomic;
        JSONSchemaProps allOf=atomic anyOf=atomic enum=atomic oneOf=atomic required=atomic
            x-kubernetes-list-map-keys=atomic x-kubernetes-validations=map:rule,merge:rule;
        WebhookConversion conversionReviewVersions=atomic;
    ",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.",
        "
        APIGroup serverAddressByClientCIDRs=atomic versions=atomic;
        APIGroupList groups=atomic;
        APIResource categories=atomic shortNames=atomic;
        APIResourceList resources=atomic;
        APIVersions serverAddressByClientCIDRs=atomic versions=atomic;
        DeleteOptions dryRun=atomic;
        FieldSelectorRequirement values=atomic;
        LabelSelector .=atomic matchExpressions=atomic;
        LabelSelectorRequirement values=atomic;
        ObjectMeta finalizers=set,merge managedFields=atomic ownerReferences=map:uid,merge:uid;
        OwnerReference .=atomic;
        StatusDetails causes=atomic;
    ",
    ),
    (
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.",
        "
        APIServiceSpec caBundle=atomic;
        APIServiceStatus conditions=map:type,merge:type;
    ",
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn well_known_fields_have_their_keys() {
        let containers = of("io.k8s.api.core.v1.PodSpec", "containers");
        assert_eq!((containers.merge_key, containers.topology), (Some("name"), Some("map")));
        assert_eq!(of("io.k8s.api.core.v1.PodSpec", "volumes").strategy(), Some("merge,retainKeys"));
        let ports: Vec<&str> = of("io.k8s.api.core.v1.Container", "ports").map_keys().collect();
        assert_eq!(ports, ["containerPort", "protocol"]);
        assert_eq!(of("io.k8s.api.core.v1.Container", "image"), Fact::default());
    }

    /// Compares with the published definitions if `SKIFF_DEFINITIONS` names their file (`_definitions.json` of the
    /// PyPI package kubernetes-validate, whose version is that of Kubernetes).
    #[test]
    fn the_table_agrees_with_the_published_definitions() {
        let Some(path) = std::env::var_os("SKIFF_DEFINITIONS") else { return };
        let published: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let word = |schema: &Value, key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut compared = 0;
        for (definition, schema) in published["$defs"].as_object().unwrap() {
            if definition.contains("alpha") || definition.contains("beta") {
                continue;
            }
            assert_eq!(
                word(schema, "x-kubernetes-map-type").as_deref(),
                of(definition, ".").topology,
                "{definition}"
            );
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                let fact = of(definition, field);
                let topology =
                    word(schema, "x-kubernetes-list-type").or(word(schema, "x-kubernetes-map-type"));
                let keys = schema.get("x-kubernetes-list-map-keys").cloned().unwrap_or(serde_json::json!([]));
                let at = format!("{definition} {field}");
                assert_eq!(topology.as_deref(), fact.topology, "{at}");
                assert_eq!(keys, serde_json::json!(fact.map_keys().collect::<Vec<_>>()), "{at}");
                assert_eq!(word(schema, "x-kubernetes-patch-merge-key").as_deref(), fact.merge_key, "{at}");
                assert_eq!(word(schema, "x-kubernetes-patch-strategy").as_deref(), fact.strategy(), "{at}");
                compared += usize::from(fact != Fact::default());
            }
        }
        assert!(compared > 300, "{compared}");
    }
}
