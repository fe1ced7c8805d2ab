//! What kinds with a pod template have in common: the checks of upstream's `pkg/apis/apps/validation`, and their columns.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Selector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use skiff_api::selector::LabelSelector;
use skiff_api::{Errors, Readable};

use super::core::pod;
use super::{Column, check};

/// A selector that must be there and must not select everything; `kind` as upstream writes it (`deployment`).
pub(super) fn selector(errors: &mut Errors, selector: &Selector, kind: &str) {
    check::label_selector(errors, "selector", selector);
    let empty = selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
        && selector.match_expressions.as_ref().is_none_or(|list| list.is_empty());
    if empty {
        let shown = skiff_api::decode::tree(selector).unwrap_or_default();
        errors.invalid("selector", &shown, format!("empty selector is invalid for {kind}"));
    }
}

/// A template whose pods the selector must match, and which run for good.
pub(super) fn template(errors: &mut Errors, template: &PodTemplateSpec, selector: &Selector) {
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    errors.at("template", |errors| {
        if LabelSelector::of(selector).is_ok_and(|selector| !selector.matches(&labels)) {
            let shown = skiff_api::decode::tree(&labels).unwrap_or_default();
            errors.invalid("metadata.labels", &shown, "`selector` does not match template `labels`");
        }
        pod::validate_template(template, errors);
        let Some(spec) = &template.spec else { return };
        if let Some(policy) = spec.restart_policy.as_deref().filter(|policy| *policy != "Always") {
            errors.not_supported("spec.restartPolicy", policy, &["Always"]);
        }
        if spec.active_deadline_seconds.is_some() {
            let why = "activeDeadlineSeconds in ReplicaSet is not Supported";
            errors.forbidden("spec.activeDeadlineSeconds", why);
        }
    });
}

/// A count or a share: not negative, well-formed.
pub(super) fn int_or_percent(errors: &mut Errors, field: &str, value: &IntOrString) {
    match value {
        IntOrString::Int(count) => check::not_negative(errors, field, *count),
        IntOrString::String(text) if percent(text).is_none() => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
                 '93%', regex used for validation is '[0-9]+%')";
            errors.invalid(field, text.as_str(), why);
        }
        IntOrString::String(_) => {}
    }
}

/// A share that may not be more than all.
pub(super) fn at_most_all(errors: &mut Errors, field: &str, value: &IntOrString) {
    if let IntOrString::String(text) = value
        && percent(text).is_some_and(|share| share > 100)
    {
        errors.invalid(field, text.as_str(), "must not be greater than 100%");
    }
}

/// True for nothing at all, be it `0` or `0%`.
pub(super) fn is_zero(value: &IntOrString) -> bool {
    match value {
        IntOrString::Int(count) => *count == 0,
        IntOrString::String(text) => percent(text) == Some(0),
    }
}

fn percent(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// How a count or a share looks in an error.
pub(super) fn shown(value: &IntOrString) -> Value {
    match value {
        IntOrString::Int(count) => (*count).into(),
        IntOrString::String(text) => text.as_str().into(),
    }
}

/// The names or images of a template's containers.
fn listed(template: Option<&PodTemplateSpec>, pick: fn(&Container) -> &str) -> Value {
    let spec = template.and_then(|template| template.spec.as_ref());
    let names: Vec<&str> = spec.iter().flat_map(|spec| &spec.containers).map(pick).collect();
    names.join(",").into()
}

/// The cell of the column `Containers`.
pub(super) fn containers(template: Option<&PodTemplateSpec>) -> Value {
    listed(template, |container| &container.name)
}

/// The cell of the column `Images`.
pub(super) fn images(template: Option<&PodTemplateSpec>) -> Value {
    listed(template, |container| container.image.as_deref().unwrap_or_default())
}

/// The cell of the column `Selector`.
pub(super) fn selects(selector: Option<&Selector>) -> Value {
    let text = selector.and_then(|selector| LabelSelector::of(selector).ok()).map(|s| s.to_string());
    check::or_none(&text.unwrap_or_default()).into()
}

/// A column of counts that shows 0 where nothing is reported.
pub(super) const fn count<K: Readable>(
    name: &'static str,
    cell: fn(&K, jiff::Timestamp) -> Value,
) -> Column<K> {
    Column::number(name, cell)
}

#[cfg(test)]
mod tests;
