//! Tells in the status of a ValidatingAdmissionPolicy which of its expressions cannot be right for the kinds it names.
//!
//! Follows upstream's `pkg/controller/validatingadmissionpolicystatus`: each generation is looked at once, with the
//! schemas that the server publishes at that moment. A policy runs whatever is said of it here.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    TypeChecking, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyStatus,
};
use serde_json::Value;
use skiff_api::cel::Type;
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::{Link, write};

use crate::shared::discovery;
use crate::table::{Ctx, Row, on};
use plan::Named;

mod plan;

pub(crate) const CONTROLLER: Row = Row {
    name: "validatingadmissionpolicy-status-controller",
    component: "validatingadmissionpolicy-status-controller",
    wakes: &[on::<ValidatingAdmissionPolicy, Itself>()],
    may: &[("patch", "validatingadmissionpolicies.admissionregistration.k8s.io/status")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(policy) = ctx.get::<ValidatingAdmissionPolicy>(&key) else { return Ok(Next::Rest) };
    let seen = policy.status.as_ref().and_then(|status| status.observed_generation);
    if seen >= policy.metadata.generation {
        return Ok(Next::Rest);
    }
    let spec = policy.spec.clone().unwrap_or_default();
    let served = match plan::names_kinds(&spec) {
        true => discovery::everything(ctx.link()).await?.served,
        false => Vec::new(),
    };
    let mut schemas = Schemas::default();
    let mut types = Vec::new();
    for named in plan::kinds(&spec, &served) {
        if let Some(known) = schemas.of(ctx.link(), &named).await? {
            types.push((named, known));
        }
    }
    let params = match plan::params(&spec) {
        Some(named) if !types.is_empty() => Some(schemas.of(ctx.link(), &named).await?.unwrap_or(Type::Dyn)),
        _ => None,
    };
    let warnings = plan::warnings(&spec, &types, params);
    let mut wanted = (*policy).clone();
    let conditions = wanted.status.take().and_then(|status| status.conditions);
    wanted.status = Some(ValidatingAdmissionPolicyStatus {
        observed_generation: policy.metadata.generation,
        type_checking: Some(TypeChecking { expression_warnings: (!warnings.is_empty()).then_some(warnings) }),
        conditions,
    });
    ctx.patch_status(&*policy, &wanted).await?;
    Ok(Next::Rest)
}

/// The published schemas, a document for each version of a group.
#[derive(Default)]
struct Schemas {
    documents: BTreeMap<String, Value>,
}

impl Schemas {
    /// The type of a kind's objects; nothing if nobody publishes its schema.
    async fn of(&mut self, link: &Link, named: &Named) -> write::Result<Option<Type>> {
        let path = named.document();
        if !self.documents.contains_key(&path) {
            let request = http::Request::get(&path).body(Vec::new()).map_err(kube::Error::HttpError)?;
            let document = match link.client().request::<Value>(request).await {
                Err(error) if write::is_not_found(&error) => Value::Null,
                document => document?,
            };
            self.documents.insert(path.clone(), document);
        }
        let document = self.documents.get(&path).unwrap_or(&Value::Null);
        Ok(Type::of_kind(document, &named.group, &named.version, &named.kind))
    }
}
