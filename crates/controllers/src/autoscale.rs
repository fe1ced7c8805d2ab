//! Horizontal pod autoscalers: how many pods a workload has follows what they are measured to do.
//!
//! Follows upstream's `pkg/controller/podautoscaler`. Numbers come from the metrics APIs, asked every fifteen seconds for as
//! long as there is an autoscaler; recommendations and changes of the last minutes are remembered for its behaviour.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, MetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use serde_json::json;
use skiff_api::{LabelSelector, Object, Resource};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Key, Next, Nobody, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::{self, Patch, Place};

use crate::Settings;
use crate::shared::discovery;
use crate::table::{Ctx, Row, on};

mod behave;
mod measure;
mod replicas;
mod sources;

pub(crate) const CONTROLLER: Row = Row {
    name: "horizontal-pod-autoscaler",
    component: "horizontal-pod-autoscaler",
    wakes: &[on::<HorizontalPodAutoscaler, Respecified>(), on::<Pod, Nobody>()],
    may: &[
        ("patch", "horizontalpodautoscalers/status"),
        ("get patch", "*/scale"),
        ("list", "pods.metrics.k8s.io"),
        ("get", "*.custom.metrics.k8s.io"),
        ("list", "*.external.metrics.k8s.io"),
        ("create patch", "events"),
    ],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// An autoscaler that is new, gone, or told something else; its own reports wake nobody.
struct Respecified;

impl How<Settings> for Respecified {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let identity = |object: &Option<Arc<Object>>| {
            object.as_ref().map(|object| (object.meta().uid.clone(), object.meta().generation))
        };
        let same = identity(&change.old) == identity(&change.new);
        if same { Vec::new() } else { vec![change.latest().meta().key().into()] }
    }
}

/// How often an autoscaler looks.
const EVERY: Duration = Duration::from_secs(15);

/// What autoscalers remember, by `namespace/name`.
#[derive(Default)]
pub(crate) struct Memory {
    by_key: Mutex<HashMap<String, behave::History>>,
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(hpa) = ctx.get::<HorizontalPodAutoscaler>(&key) else {
        ctx.settings().autoscalers.by_key.lock().remove(key.as_str());
        return Ok(Next::Rest);
    };
    let mut look = Look { ctx: &ctx, hpa: (*hpa).clone(), before: (*hpa).clone() };
    Box::pin(look.run(&key)).await;
    let wanted = look.hpa;
    match ctx.patch_status(&*hpa, &wanted).await {
        Err(error) if write::is_not_found(&error) => Ok(Next::Rest),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(Next::After(EVERY)),
    }
}

/// One look at one autoscaler; what comes out is its status.
struct Look<'a> {
    ctx: &'a Ctx,
    hpa: HorizontalPodAutoscaler,
    before: HorizontalPodAutoscaler,
}

impl Look<'_> {
    async fn run(&mut self, key: &Key) {
        let status = self.hpa.status.get_or_insert_default();
        status.observed_generation = self.before.metadata.generation;
        let (place, scale) = match self.scale().await {
            Ok(found) => found,
            Err(why) => {
                self.warn("FailedGetScale", why.clone());
                let message =
                    format!("the HPA controller was unable to get the target's current scale: {why}");
                return self.set("AbleToScale", "False", "FailedGetScale", message);
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        self.set("AbleToScale", "True", "SucceededGetScale", message);
        let current = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let spec = self.hpa.spec.clone();
        let least = spec.min_replicas.unwrap_or(1);
        let desired;
        let mut why = String::new();
        if current == 0 && least != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.set("ScalingActive", "False", "ScalingDisabled", message);
            return self.settle(current, 0);
        } else if current > spec.max_replicas {
            desired = spec.max_replicas;
            why = "Current number of replicas above Spec.MaxReplicas".to_owned();
        } else if current < least {
            desired = least;
            why = "Current number of replicas below Spec.MinReplicas".to_owned();
        } else {
            let measured = match self.measure(&scale, current).await {
                Ok(measured) => measured,
                Err(()) => {
                    let desired = self.before.status.as_ref().map_or(0, |status| status.desired_replicas);
                    return self.settle(current, desired);
                }
            };
            if measured.replicas > current {
                why = format!("{} above target", measured.name);
            } else if measured.replicas < current {
                why = "All metrics below target".to_owned();
            }
            let now = self.ctx.now();
            let verdict = {
                let mut memory = self.ctx.settings().autoscalers.by_key.lock();
                let history = memory.entry(key.as_str().to_owned()).or_default();
                behave::limit(&spec, current, measured.replicas, history, now)
            };
            for (kind, status, reason, message) in verdict.conditions {
                self.set(kind, status, reason, message);
            }
            desired = verdict.replicas;
        }
        if desired != current {
            let body = json!({ "spec": { "replicas": desired } });
            let written = write::patch::<Scale>(self.ctx.link(), &place, Patch::Merge, &body).await;
            if let Err(error) = written {
                let words = write::words(&error);
                self.warn("FailedRescale", format!("New size: {desired}; reason: {why}; error: {words}"));
                let message = format!("the HPA controller was unable to update the target scale: {words}");
                self.set("AbleToScale", "False", "FailedUpdateScale", message);
                return self.settle(current, desired);
            }
            let message = format!("the HPA controller was able to update the target scale to {desired}");
            self.set("AbleToScale", "True", "SucceededRescale", message);
            let message = format!("New size: {desired}; reason: {why}");
            self.ctx.event(reference(&self.before), EventKind::Normal, "SuccessfulRescale", message);
            let now = self.ctx.now();
            let mut memory = self.ctx.settings().autoscalers.by_key.lock();
            memory.entry(key.as_str().to_owned()).or_default().changed(current, desired, now);
            drop(memory);
            self.hpa.status.get_or_insert_default().last_scale_time = Some(Time(self.ctx.clock_seconds()));
        }
        self.settle(current, desired);
    }

    /// The target's scale and where it is.
    async fn scale(&self) -> Result<(Place, Scale), String> {
        let target = self.hpa.spec.clone().scale_target_ref;
        let version = target.api_version.unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let known = [
            ("apps", "Deployment", "deployments"),
            ("apps", "ReplicaSet", "replicasets"),
            ("apps", "StatefulSet", "statefulsets"),
            ("", "ReplicationController", "replicationcontrollers"),
        ];
        let named = known.iter().find(|(own, kind, _)| *own == group && *kind == target.kind);
        let resource = match named {
            Some((group, kind, plural)) => Resource {
                group: (*group).into(),
                version: version.rsplit('/').next().unwrap_or("v1").into(),
                plural: (*plural).into(),
                kind: (*kind).into(),
                namespaced: true,
            },
            None => {
                let served =
                    discovery::everything(self.ctx.link()).await.map_err(|error| write::words(&error))?;
                let found = served
                    .preferred()
                    .find(|it| *it.resource.group == *group && *it.resource.kind == target.kind);
                found
                    .map(|found| found.resource)
                    .ok_or_else(|| format!("no matches for kind {:?} in group {group:?}", target.kind))?
            }
        };
        let place = Place::new(&resource, self.hpa.metadata.namespace.as_deref(), &target.name).part("scale");
        let scale =
            write::get::<Scale>(self.ctx.link(), &place).await.map_err(|error| write::words(&error))?;
        Ok((place, scale))
    }

    /// How many replicas the metrics call for: the most that any of them does.
    async fn measure(&mut self, scale: &Scale, current: i32) -> Result<Measured, ()> {
        let text = scale.status.as_ref().and_then(|status| status.selector.as_deref()).unwrap_or_default();
        let selector = LabelSelector::parse(text).ok().filter(|_| !text.is_empty());
        let Some(selector) = selector else {
            self.warn("SelectorRequired", "selector is required".to_owned());
            let message = "the HPA target's scale is missing a selector";
            self.set("ScalingActive", "False", "InvalidSelector", message);
            return Err(());
        };
        let namespace = self.hpa.metadata.namespace.clone().unwrap_or_default();
        let rivals = self.rivals(&namespace);
        if rivals.len() > 1 {
            let rivals: Vec<String> = rivals.iter().map(|name| format!("{{{name} {namespace}}}")).collect();
            let rivals = rivals.join(" ");
            let why = format!("pods by selector {text} are controlled by multiple HPAs: [{rivals}]");
            self.warn("AmbiguousSelector", why.clone());
            self.set("ScalingActive", "False", "AmbiguousSelector", why);
            return Err(());
        }
        let cached = self.ctx.cache::<Pod>().within(&namespace);
        let cached = cached.iter().filter(|pod| selector.matches(&pod.meta().labels));
        let pods: Vec<_> = cached.filter_map(|pod| skiff_client::cache::decode::<Pod>(pod)).collect();
        let spec = self.hpa.spec.clone();
        let tolerance = |rules: Option<&k8s_openapi::api::autoscaling::v2::HPAScalingRules>| {
            let text = rules.and_then(|rules| rules.tolerance.as_ref());
            let parsed = text.and_then(|text| skiff_api::quantity::Quantity::parse(&text.0).ok());
            parsed.map_or(replicas::TOLERANCE, |it| measure::float(it.milli_value()) / 1000.0)
        };
        let behavior = spec.behavior.as_ref();
        let scene = measure::Scene {
            link: self.ctx.link(),
            now: self.ctx.now(),
            namespace: &namespace,
            selector: text,
            pods: &pods,
            current,
            there: scale.status.as_ref().map_or(0, |status| status.replicas),
            tolerance: (
                tolerance(behavior.and_then(|it| it.scale_down.as_ref())),
                tolerance(behavior.and_then(|it| it.scale_up.as_ref())),
            ),
        };
        let metrics = spec.metrics.unwrap_or_default();
        let mut best: Option<Measured> = None;
        let mut statuses: Vec<MetricStatus> = Vec::new();
        let mut failures: Vec<measure::Failure> = Vec::new();
        for metric in &metrics {
            match measure::one(&scene, metric).await {
                Ok((measured, status)) => {
                    statuses.push(status);
                    if best.as_ref().is_none_or(|best| measured.replicas > best.replicas) {
                        best = Some(measured);
                    }
                }
                Err(failure) => {
                    self.warn(failure.reason, failure.why.clone());
                    failures.push(failure);
                }
            }
        }
        self.hpa.status.get_or_insert_default().current_metrics = (!statuses.is_empty()).then_some(statuses);
        // With a metric missing it may only grow: what is not known may be high.
        let missing = failures.len();
        if let Some(first) = failures.into_iter().next()
            && best.as_ref().is_none_or(|best| best.replicas < current)
        {
            let message = format!("the HPA was unable to compute the replica count: {}", first.why);
            self.set("ScalingActive", "False", first.reason, message);
            let (all, first) = (metrics.len(), first.told);
            let message =
                format!("invalid metrics ({missing} invalid out of {all}), first error is: {first}");
            self.warn("FailedComputeMetricsReplicas", message);
            return Err(());
        }
        let Some(best) = best else { return Err(()) };
        let message =
            format!("the HPA was able to successfully calculate a replica count from {}", best.name);
        self.set("ScalingActive", "True", "ValidMetricFound", message);
        Ok(best)
    }

    /// The autoscalers of this target: two that pull at one must not.
    fn rivals(&self, namespace: &str) -> Vec<String> {
        let own = self.hpa.spec.clone().scale_target_ref;
        let group =
            |version: Option<&str>| version.and_then(|it| it.split_once('/')).map(|(it, _)| it.to_owned());
        let mut names: Vec<String> = self
            .ctx
            .within::<HorizontalPodAutoscaler>(namespace)
            .iter()
            .filter(|other| {
                let target = &other.spec.scale_target_ref;
                target.kind == own.kind
                    && target.name == own.name
                    && group(target.api_version.as_deref()) == group(own.api_version.as_deref())
            })
            .filter_map(|other| other.metadata.name.clone())
            .collect();
        names.sort();
        names
    }

    fn warn(&self, reason: &str, message: String) {
        self.ctx.event(reference(&self.before), EventKind::Warning, reason, message);
    }

    fn settle(&mut self, current: i32, desired: i32) {
        let status = self.hpa.status.get_or_insert_default();
        status.current_replicas = Some(current);
        status.desired_replicas = desired;
    }

    fn set(&mut self, kind: &str, value: &str, reason: &str, message: impl Into<String>) {
        let now = Time(self.ctx.clock_seconds());
        let conditions = self.hpa.status.get_or_insert_default().conditions.get_or_insert_default();
        let held = conditions.iter().find(|it| it.type_ == kind && it.status == value);
        let since = held.and_then(|held| held.last_transition_time.clone()).unwrap_or(now);
        let condition = HorizontalPodAutoscalerCondition {
            type_: kind.to_owned(),
            status: value.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            last_transition_time: Some(since),
            observed_generation: None,
        };
        match conditions.iter_mut().find(|it| it.type_ == kind) {
            Some(held) => *held = condition,
            None => conditions.push(condition),
        }
    }
}

/// What one metric calls for.
struct Measured {
    replicas: i32,
    /// As messages name it.
    name: String,
}
