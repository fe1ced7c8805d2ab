//! From an AuthenticationConfiguration as it is written to issuers, claims and rules; every fault on the way is noted.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use skiff_api::Errors;

use super::written::{AnonymousPart, ClaimRule, IssuerPart, Jwt, Mapping, Mappings};
use super::{Anonymous, OidcOptions};
use crate::authn::oidc::claims::{Claims, Expression, From, Rule};

impl AnonymousPart {
    pub(super) fn read(self, errors: &mut Errors) -> Anonymous {
        let paths: Vec<String> = self.conditions.into_iter().map(|condition| condition.path).collect();
        if !self.enabled && !paths.is_empty() {
            let why = "enabled should be set to true when conditions are defined";
            errors.invalid("anonymous.conditions", &json!(paths), why);
        }
        Anonymous { enabled: self.enabled, paths }
    }
}

impl Jwt {
    pub(super) fn read(&self, errors: &mut Errors) -> Option<OidcOptions> {
        let before = errors.len();
        errors.at("issuer", |e| self.issuer.check(e));
        let rules = self.rules(errors);
        let from = &self.claim_mappings;
        let (username, groups, uid, extra) = errors.at("claimMappings", |e| {
            let username = e.at("username", |e| {
                let found = from.username.read(true, e);
                if !from.username.is_said() {
                    e.required("", "claim or expression is required");
                }
                found
            });
            let groups = e.at("groups", |e| from.groups.read(true, e));
            let uid = e.at("uid", |e| from.uid.read(false, e));
            (username, groups, uid, from.extra(e))
        });
        let user_rules = self.user_rules(errors);
        let claims = Claims { username: username?, groups, uid, extra, rules, user_rules };
        check_email(&claims, errors);
        let issuer = &self.issuer;
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        (errors.len() == before).then(|| OidcOptions {
            ca_pem: some(&issuer.certificate_authority),
            discovery_url: some(&issuer.discovery_url),
            audiences: issuer.audiences.clone(),
            signing_algs: ALGORITHMS.iter().map(|name| (*name).to_owned()).collect(),
            claims: Some(Arc::new(claims)),
            ..OidcOptions::of(&issuer.url, "")
        })
    }

    fn rules(&self, errors: &mut Errors) -> Vec<Rule> {
        let mut seen = BTreeSet::new();
        let rules = self.claim_validation_rules.iter().enumerate();
        let read = rules.map(|(index, rule)| {
            errors.item("claimValidationRules", index, |e| {
                let key = if rule.claim.is_empty() { &rule.expression } else { &rule.claim };
                if !seen.insert(key) {
                    e.duplicate("", key);
                }
                rule.read(e)
            })
        });
        read.flatten().collect()
    }

    fn user_rules(&self, errors: &mut Errors) -> Vec<(Expression, String)> {
        let mut seen = BTreeSet::new();
        let rules = self.user_validation_rules.iter().enumerate();
        let read = rules.map(|(index, rule)| {
            errors.item("userValidationRules", index, |e| {
                if !seen.insert(&rule.expression) {
                    e.duplicate("expression", &rule.expression);
                }
                Some((compiled("expression", &rule.expression, "user", e)?, rule.message.clone()))
            })
        });
        read.flatten().collect()
    }
}

impl ClaimRule {
    fn read(&self, errors: &mut Errors) -> Option<Rule> {
        let Self { claim, required_value, expression, message } = self;
        match (claim.is_empty(), expression.is_empty()) {
            (true, true) => errors.required("", "claim or expression is required"),
            (false, false) => {
                errors.invalid("", &json!([claim, expression]), "claim and expression can't both be set");
            }
            (false, true) if !message.is_empty() => {
                errors.invalid("message", message, "message can't be set when claim is set");
            }
            (false, true) => {
                return Some(Rule::Claim { name: claim.clone(), required: required_value.clone() });
            }
            (true, false) if !required_value.is_empty() => {
                let why = "requiredValue can't be set when expression is set";
                errors.invalid("requiredValue", required_value, why);
            }
            (true, false) => {
                let expression = compiled("expression", expression, "claims", errors)?;
                return Some(Rule::Holds { expression, message: message.clone() });
            }
        }
        None
    }
}

/// How tokens of these issuers may be signed: every way that we can verify.
const ALGORITHMS: [&str; 8] = ["ES256", "ES384", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

impl IssuerPart {
    fn check(&self, errors: &mut Errors) {
        if self.url.is_empty() {
            errors.required("url", "URL is required");
        } else {
            check_url("url", &self.url, errors);
            if !self.discovery_url.is_empty() {
                check_url("discoveryURL", &self.discovery_url, errors);
            }
        }
        let same = self.discovery_url.trim_end_matches('/') == self.url.trim_end_matches('/');
        if !self.discovery_url.is_empty() && same {
            errors.invalid("discoveryURL", &self.discovery_url, "discoveryURL must be different from URL");
        }
        self.check_audiences(errors);
    }

    fn check_audiences(&self, errors: &mut Errors) {
        let policy = &self.audience_match_policy;
        match self.audiences.as_slice() {
            [] => {
                let why = format!("at least one {} is required", errors.path("audiences"));
                errors.required("audiences", why);
            }
            [_, _, ..] if policy != "MatchAny" => {
                let why = "audienceMatchPolicy must be MatchAny for multiple audiences";
                errors.invalid("audienceMatchPolicy", policy, why);
            }
            [_] if !["", "MatchAny"].contains(&policy.as_str()) => {
                errors.invalid("audienceMatchPolicy", policy, "must be empty or MatchAny");
            }
            _ => {}
        }
        for (index, audience) in self.audiences.iter().enumerate() {
            errors.item("audiences", index, |e| {
                if audience.is_empty() {
                    e.required("", "audience can't be empty");
                }
                if self.audiences[..index].contains(audience) {
                    e.duplicate("", audience);
                }
            });
        }
    }
}

fn check_url(field: &str, url: &String, errors: &mut Errors) {
    let why = match url.strip_prefix("https://") {
        None => "URL scheme must be https",
        Some(rest) if rest.split('/').next().unwrap_or_default().contains('@') => {
            "URL must not contain a username or password"
        }
        Some(rest) if rest.contains('?') => "URL must not contain a query",
        Some(rest) if rest.contains('#') => "URL must not contain a fragment",
        Some(_) => return,
    };
    errors.invalid(field, url, why);
}

impl Mapping {
    fn is_said(&self) -> bool {
        !self.claim.is_empty() || !self.expression.is_empty()
    }

    /// Where it comes from; nothing if nowhere. The prefix of a claim, if such a thing may have one, must be said.
    fn read(&self, prefixed: bool, errors: &mut Errors) -> Option<From> {
        let prefix = |errors: &mut Errors, why: &str| {
            if let Some(prefix) = &self.prefix {
                errors.invalid("prefix", prefix, why);
            }
        };
        match (self.claim.is_empty(), self.expression.is_empty()) {
            (true, true) => {
                prefix(errors, "can't be set when claim is not set");
                None
            }
            (false, false) => {
                let both = json!([self.claim, self.expression]);
                errors.invalid("", &both, "claim and expression can't both be set");
                None
            }
            (true, false) => {
                prefix(errors, "prefix can't be set when expression is set");
                compiled("expression", &self.expression, "claims", errors).map(From::Expression)
            }
            (false, true) => {
                if prefixed && self.prefix.is_none() {
                    let why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                    errors.required("prefix", why);
                }
                let (name, prefix) = (self.claim.clone(), self.prefix.clone().unwrap_or_default());
                Some(From::Claim { name, prefix })
            }
        }
    }
}

impl Mappings {
    fn extra(&self, errors: &mut Errors) -> Vec<(String, Expression)> {
        let read = self.extra.iter().enumerate().map(|(index, extra)| {
            errors.item("extra", index, |e| {
                check_key(&extra.key, e);
                if self.extra[..index].iter().any(|other| other.key == extra.key) {
                    e.duplicate("key", &extra.key);
                }
                let value = compiled("valueExpression", &extra.value_expression, "claims", e)?;
                Some((extra.key.clone(), value))
            })
        });
        read.flatten().collect()
    }
}

fn check_key(key: &String, errors: &mut Errors) {
    let reserved = ["kubernetes.io", "k8s.io"];
    let is_below = |domain: &str, of: &&str| domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
    match key.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            if *key != key.to_lowercase() {
                errors.invalid("key", key, "must be lowercase");
            }
            if reserved.contains(&domain) || reserved.iter().any(|of| is_below(domain, of)) {
                let why = "kubernetes.io, k8s.io and their subdomains are reserved for Kubernetes use";
                errors.invalid("key", key, why);
            }
        }
        _ => errors.invalid("key", key, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

/// Somebody's word for an address is worth nothing unless the issuer says that it was verified.
fn check_email(claims: &Claims, errors: &mut Errors) {
    let From::Expression(username) = &claims.username else { return };
    let uses_email = username.names("claims.email")
        && username.source().replace("claims.email_verified", "").contains("claims.email");
    let is_verified = |expression: &Expression| expression.names("claims.email_verified");
    let verified = is_verified(username)
        || claims.extra.iter().any(|(_, expression)| is_verified(expression))
        || claims
            .rules
            .iter()
            .any(|rule| matches!(rule, Rule::Holds { expression, .. } if is_verified(expression)));
    if uses_email && !verified {
        let why = "claims.email_verified must be used in claimMappings.username.expression or \
                   claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is \
                   used in claimMappings.username.expression";
        errors.invalid("claimMappings.username.expression", username.source(), why);
    }
}

fn compiled(field: &str, source: &str, variable: &str, errors: &mut Errors) -> Option<Expression> {
    if source.trim().is_empty() {
        errors.required(field, "expression is required");
        return None;
    }
    match Expression::new(source, variable) {
        Ok(expression) => Some(expression),
        Err(why) => {
            errors.invalid(field, source, why);
            None
        }
    }
}
