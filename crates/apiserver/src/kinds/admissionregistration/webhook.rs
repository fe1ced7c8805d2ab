//! A webhook of either kind: one form for both, its defaults and checks.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, RuleWithOperations, ValidatingWebhook, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use skiff_api::{Errors, names};

use super::expressions::{self, Names};
use super::rules;
use crate::kinds::check;

const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const URL_FORM: &str = "; desired format: https://host[/path]";

/// What mutating and validating webhooks have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) versions: Vec<String>,
    pub(crate) client: WebhookClientConfig,
    pub(crate) failure_policy: Option<String>,
    pub(crate) match_conditions: Option<Vec<MatchCondition>>,
    pub(crate) match_policy: Option<String>,
    pub(crate) namespace_selector: Option<LabelSelector>,
    pub(crate) object_selector: Option<LabelSelector>,
    /// `Never` for validating webhooks.
    pub(crate) reinvocation_policy: Option<String>,
    pub(crate) rules: Option<Vec<RuleWithOperations>>,
    pub(crate) side_effects: String,
    pub(crate) timeout_seconds: Option<i32>,
}

impl From<&MutatingWebhook> for Hook {
    fn from(hook: &MutatingWebhook) -> Self {
        let hook = hook.clone();
        Self {
            name: hook.name,
            versions: hook.admission_review_versions,
            client: hook.client_config,
            failure_policy: hook.failure_policy,
            match_conditions: hook.match_conditions,
            match_policy: hook.match_policy,
            namespace_selector: hook.namespace_selector,
            object_selector: hook.object_selector,
            reinvocation_policy: hook.reinvocation_policy,
            rules: hook.rules,
            side_effects: hook.side_effects,
            timeout_seconds: hook.timeout_seconds,
        }
    }
}

impl From<&ValidatingWebhook> for Hook {
    fn from(hook: &ValidatingWebhook) -> Self {
        let hook = hook.clone();
        Self {
            name: hook.name,
            versions: hook.admission_review_versions,
            client: hook.client_config,
            failure_policy: hook.failure_policy,
            match_conditions: hook.match_conditions,
            match_policy: hook.match_policy,
            namespace_selector: hook.namespace_selector,
            object_selector: hook.object_selector,
            reinvocation_policy: None,
            rules: hook.rules,
            side_effects: hook.side_effects,
            timeout_seconds: hook.timeout_seconds,
        }
    }
}

/// The fields of a webhook that have defaults.
pub(super) struct Defaulted<'a> {
    pub(super) failure_policy: &'a mut Option<String>,
    pub(super) match_policy: &'a mut Option<String>,
    pub(super) namespace_selector: &'a mut Option<LabelSelector>,
    pub(super) object_selector: &'a mut Option<LabelSelector>,
    pub(super) timeout_seconds: &'a mut Option<i32>,
    pub(super) rules: &'a mut Option<Vec<RuleWithOperations>>,
    pub(super) client: &'a mut WebhookClientConfig,
}

impl Defaulted<'_> {
    /// Sets them.
    pub(super) fn set(self) {
        check::default_text(self.failure_policy, "Fail");
        check::default_text(self.match_policy, "Equivalent");
        self.namespace_selector.get_or_insert_default();
        self.object_selector.get_or_insert_default();
        self.timeout_seconds.get_or_insert(10);
        for rule in self.rules.iter_mut().flatten() {
            check::default_text(&mut rule.scope, "*");
        }
        if let Some(service) = &mut self.client.service {
            service.port.get_or_insert(443);
        }
    }
}

/// Checks all webhooks of a configuration.
pub(super) fn validate(errors: &mut Errors, hooks: &[Hook]) {
    for (index, hook) in hooks.iter().enumerate() {
        errors.item("webhooks", index, |errors| {
            one(errors, hook);
            if !hook.name.is_empty() && hooks[..index].iter().any(|other| other.name == hook.name) {
                errors.duplicate("name", &hook.name);
            }
        });
    }
}

fn one(errors: &mut Errors, hook: &Hook) {
    name(errors, &hook.name);
    for (index, rule) in hook.rules.iter().flatten().enumerate() {
        errors.item("rules", index, |errors| rules::rule(errors, rule));
    }
    for (field, value, supported) in [
        ("failurePolicy", &hook.failure_policy, rules::FAILURE_POLICIES),
        ("matchPolicy", &hook.match_policy, rules::MATCH_POLICIES),
    ] {
        if let Some(value) = check::given(value.as_ref()) {
            check::one_of(errors, field, value, supported);
        }
    }
    match hook.side_effects.as_str() {
        "" => errors.required("sideEffects", "must specify one of None, NoneOnDryRun"),
        class => check::one_of(errors, "sideEffects", class, SIDE_EFFECTS),
    }
    if let Some(seconds) = hook.timeout_seconds.filter(|seconds| !(1..=30).contains(seconds)) {
        errors.invalid("timeoutSeconds", &seconds, "the timeout value must be between 1 and 30 seconds");
    }
    if let Some(selector) = &hook.namespace_selector {
        check::label_selector(errors, "namespaceSelector", selector);
    }
    if let Some(selector) = &hook.object_selector {
        check::label_selector(errors, "objectSelector", selector);
    }
    if let Some(policy) = check::given(hook.reinvocation_policy.as_ref()) {
        check::one_of(errors, "reinvocationPolicy", policy, rules::REINVOCATION_POLICIES);
    }
    client(errors, &hook.client);
    expressions::match_conditions(errors, hook.match_conditions.as_deref(), &Names::new(false));
    versions(errors, &hook.versions);
}

fn name(errors: &mut Errors, name: &str) {
    if name.is_empty() {
        return errors.required("name", "");
    }
    let why = names::dns1123_subdomain(name);
    if !why.is_empty() {
        errors.invalid("name", name, why.join(","));
    } else if name.split('.').count() < 3 {
        errors.invalid("name", name, "should be a domain with at least three segments separated by dots");
    }
}

fn client(errors: &mut Errors, client: &WebhookClientConfig) {
    match (&client.url, &client.service) {
        (Some(_), Some(_)) | (None, None) => {
            errors.required("clientConfig", "exactly one of url or service is required");
        }
        (Some(address), None) => errors.at("clientConfig", |errors| url(errors, address)),
        (None, Some(service)) => errors.at("clientConfig", |errors| {
            errors.at("service", |errors| {
                if service.name.is_empty() {
                    errors.required("name", "");
                }
                if service.namespace.is_empty() {
                    errors.required("namespace", "");
                }
                if let Some(port) = service.port.filter(|port| !(1..=65535).contains(port)) {
                    errors.invalid("port", &port, format!("port is not valid: {}", check::PORT_RANGE));
                }
                if let Some(path) = &service.path {
                    service_path(errors, path);
                }
            });
        }),
    }
}

fn url(errors: &mut Errors, address: &str) {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    if scheme != "https" {
        errors.invalid("url", scheme, format!("'https' is the only allowed URL scheme{URL_FORM}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        errors.invalid("url", host, format!("host must be specified{URL_FORM}"));
    }
    if !user.is_empty() {
        errors.invalid("url", user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        errors.invalid("url", fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        errors.invalid("url", query, "query parameters are not permitted in the URL");
    }
}

fn service_path(errors: &mut Errors, path: &str) {
    match path {
        "" | "/" => {}
        "//" => errors.invalid("path", path, "segment[0] may not be empty"),
        _ if !path.starts_with('/') => errors.invalid("path", path, "must start with a '/'"),
        _ => {
            let inner = path[1..].strip_suffix('/').unwrap_or(&path[1..]);
            for (index, step) in inner.split('/').enumerate() {
                if step.is_empty() {
                    errors.invalid("path", path, format!("segment[{index}] may not be empty"));
                }
                for why in names::dns1123_subdomain(step).into_iter().filter(|_| !step.is_empty()) {
                    errors.invalid("path", path, format!("segment[{index}]: {why}"));
                }
            }
        }
    }
}

fn versions(errors: &mut Errors, versions: &[String]) {
    const FIELD: &str = "admissionReviewVersions";
    if versions.is_empty() {
        return errors.required(FIELD, "must specify one of v1, v1beta1");
    }
    for (index, version) in versions.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        if versions[..index].contains(version) {
            errors.invalid(&field, version, "duplicate version");
            continue;
        }
        check::named(errors, &field, version, names::dns1035_label(version));
    }
    if !versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str())) {
        errors.invalid(FIELD, &rules::shown(versions), "must include at least one of v1, v1beta1");
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration as Configuration;

    use crate::kinds::testing::{created, faults};

    const GOOD: &str = "
webhooks:
- name: a.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {service: {name: hook, namespace: default}}
  rules:
  - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}
";

    #[test]
    fn what_is_left_out_is_filled_in() {
        let made = created::<Configuration>(GOOD);
        assert!(faults::<Configuration>(GOOD).is_empty());
        let hook = &made.webhooks.as_ref().unwrap()[0];
        assert_eq!(hook.failure_policy.as_deref(), Some("Fail"));
        assert_eq!(hook.match_policy.as_deref(), Some("Equivalent"));
        assert_eq!(hook.reinvocation_policy.as_deref(), Some("Never"));
        assert_eq!(
            (hook.timeout_seconds, hook.rules.as_ref().unwrap()[0].scope.as_deref()),
            (Some(10), Some("*"))
        );
        assert_eq!(hook.client_config.service.as_ref().unwrap().port, Some(443));
    }

    #[test]
    fn every_fault_is_named_with_its_path() {
        let found = faults::<Configuration>(
            "
webhooks:
- name: short
  admissionReviewVersions: [v2]
  sideEffects: Some
  timeoutSeconds: 31
  clientConfig: {url: 'http://u@host/p?q#f'}
  matchConditions:
  - {name: a, expression: 'object.x =='}
  - {name: a, expression: '1 + 1'}
  - {name: b, expression: 'nosuch == 1'}
  rules:
  - {apiGroups: ['*', apps], apiVersions: [], operations: [WRITE], resources: ['*/*', pods]}
",
        );
        let has =
            |text: &str| assert!(found.iter().any(|fault| fault.contains(text)), "{text} in {found:#?}");
        has("webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments");
        has(
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
        );
        has(
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        );
        has(
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
        );
        has("webhooks[0].rules[0].apiVersions: Required value");
        has("if '*' is present, must not specify other API groups");
        has("if '*/*' is present, must not specify other resources");
        has("webhooks[0].rules[0].operations[0]: Unsupported value: \"WRITE\"");
        has(
            "webhooks[0].matchConditions[0].expression: Invalid value: \"object.x ==\": compilation failed: ERROR: <input>:1:",
        );
        has("webhooks[0].matchConditions[1].expression: Invalid value: \"1 + 1\": must evaluate to bool");
        has("webhooks[0].matchConditions[1].name: Duplicate value: \"a\"");
        has("undeclared reference to 'nosuch' (in container '')");
        has("webhooks[0].admissionReviewVersions: Invalid value: ");
    }
}
