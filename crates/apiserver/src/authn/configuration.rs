//! Whom the server believes besides its own tokens and certificates: an AuthenticationConfiguration of
//! `apiserver.config.k8s.io`, instead of the `--oidc-*` flags. Several issuers, claims by expressions, and who may come
//! without showing anything.
//!
//! Read and validated as upstream's `apiserver/pkg/apis/apiserver/validation`; its words where a person will look for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use skiff_api::decode::yaml_to_json;

mod written;

use self::written::{AnonymousPart, File, IssuerPart, Jwt, Mapping, Mappings};
use super::oidc::OidcOptions;
use super::oidc::claims::{Claims, Expression, From, Rule};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthenticationConfigurationError(String);

/// Who may come without certificate or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// False: nobody, not even to ask whether the server lives.
    pub enabled: bool,
    /// The only paths that they may ask for; any if there are none.
    pub paths: Vec<String>,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct AuthenticationConfiguration {
    /// The issuers.
    pub issuers: Vec<OidcOptions>,
    /// Nothing: as without a file.
    pub anonymous: Option<Anonymous>,
}

/// What is wrong, and where.
type Fault = String;

impl AuthenticationConfiguration {
    /// Reads YAML or JSON; `own` are issuers that nobody else may be: this server's own.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(yaml: &str, own: &[String]) -> Result<Self, AuthenticationConfigurationError> {
        let wrong = AuthenticationConfigurationError;
        let json = yaml_to_json(yaml.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let file: File = serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
        let group = file.api_version.strip_prefix("apiserver.config.k8s.io/");
        if file.kind != "AuthenticationConfiguration"
            || !group.is_some_and(|it| ["v1", "v1beta1"].contains(&it))
        {
            let (version, kind) = (file.api_version, file.kind);
            return Err(wrong(format!("no kind {kind:?} is registered for version {version:?}")));
        }
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        let mut issuers = Vec::new();
        for (index, jwt) in file.jwt.iter().enumerate() {
            let place = format!("jwt[{index}]");
            if !seen.insert(jwt.issuer.url.clone()) {
                faults.push(format!("{place}.issuer.url: Duplicate value: {:?}", jwt.issuer.url));
            }
            if own.contains(&jwt.issuer.url) {
                let url = &jwt.issuer.url;
                faults.push(format!(
                    "{place}.issuer.url: Invalid value: {url:?}: URL must not overlap with disallowed issuers: {own:?}"
                ));
            }
            issuers.extend(jwt.read(&place, &mut faults));
        }
        let anonymous = file.anonymous.map(|part| part.read(&mut faults));
        if faults.is_empty() { Ok(Self { issuers, anonymous }) } else { Err(wrong(faults.join(", "))) }
    }
}

impl AnonymousPart {
    fn read(self, faults: &mut Vec<Fault>) -> Anonymous {
        if !self.enabled && !self.conditions.is_empty() {
            let why = "enabled should be set to true when conditions are defined";
            faults.push(format!("anonymous.conditions: Invalid value: {why}"));
        }
        Anonymous {
            enabled: self.enabled,
            paths: self.conditions.into_iter().map(|condition| condition.path).collect(),
        }
    }
}

impl Jwt {
    fn read(&self, place: &str, faults: &mut Vec<Fault>) -> Option<OidcOptions> {
        let before = faults.len();
        self.issuer.check(&format!("{place}.issuer"), faults);
        let rules = self.rules(&format!("{place}.claimValidationRules"), faults);
        let mappings = &self.claim_mappings;
        let place = format!("{place}.claimMappings");
        let username = mappings.username.read(&format!("{place}.username"), Some("prefix"), faults);
        if username.is_none() && faults.len() == before {
            faults.push(format!("{place}.username: Required value: claim or expression is required"));
        }
        let groups = mappings.groups.read(&format!("{place}.groups"), Some("prefix"), faults);
        let uid = mappings.uid.read(&format!("{place}.uid"), None, faults);
        let extra = mappings.extra(&format!("{place}.extra"), faults);
        let user_rules =
            self.user_rules(&format!("{place}.userValidationRules").replace(".claimMappings", ""), faults);
        let claims = Claims { username: username?, groups, uid, extra, rules, user_rules };
        claims.check_email(&place, faults);
        let issuer = &self.issuer;
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        (faults.len() == before).then(|| OidcOptions {
            ca_pem: some(&issuer.certificate_authority),
            discovery_url: some(&issuer.discovery_url),
            audiences: issuer.audiences.clone(),
            signing_algs: ALGORITHMS.iter().map(|name| (*name).to_owned()).collect(),
            claims: Some(Arc::new(claims)),
            ..OidcOptions::of(&issuer.url, "")
        })
    }

    fn rules(&self, place: &str, faults: &mut Vec<Fault>) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, rule) in self.claim_validation_rules.iter().enumerate() {
            let place = format!("{place}[{index}]");
            let key = if rule.claim.is_empty() { &rule.expression } else { &rule.claim };
            if !seen.insert(key) {
                faults.push(format!("{place}: Duplicate value: {key:?}"));
            }
            match (rule.claim.is_empty(), rule.expression.is_empty()) {
                (true, true) => {
                    faults.push(format!("{place}: Required value: claim or expression is required"))
                }
                (false, false) => {
                    faults.push(format!("{place}: Invalid value: claim and expression can't both be set"));
                }
                (false, true) if !rule.message.is_empty() => {
                    faults.push(format!(
                        "{place}.message: Invalid value: message can't be set when claim is set"
                    ));
                }
                (false, true) => rules
                    .push(Rule::Claim { name: rule.claim.clone(), required: rule.required_value.clone() }),
                (true, false) if !rule.required_value.is_empty() => {
                    let why = "requiredValue can't be set when expression is set";
                    faults.push(format!("{place}.requiredValue: Invalid value: {why}"));
                }
                (true, false) => {
                    let compiled =
                        compiled(&format!("{place}.expression"), &rule.expression, "claims", faults);
                    rules.extend(
                        compiled.map(|expression| Rule::Holds { expression, message: rule.message.clone() }),
                    );
                }
            }
        }
        rules
    }

    fn user_rules(&self, place: &str, faults: &mut Vec<Fault>) -> Vec<(Expression, String)> {
        let mut seen = BTreeSet::new();
        let mut rules = Vec::new();
        for (index, rule) in self.user_validation_rules.iter().enumerate() {
            let place = format!("{place}[{index}].expression");
            if !seen.insert(&rule.expression) {
                faults.push(format!("{place}: Duplicate value: {:?}", rule.expression));
            }
            let compiled = compiled(&place, &rule.expression, "user", faults);
            rules.extend(compiled.map(|expression| (expression, rule.message.clone())));
        }
        rules
    }
}

/// How tokens of these issuers may be signed: every way that we can verify.
const ALGORITHMS: [&str; 8] = ["ES256", "ES384", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

impl IssuerPart {
    fn check(&self, place: &str, faults: &mut Vec<Fault>) {
        let mut url = |field: &str, url: &str| {
            let mut fault =
                |why: &str| faults.push(format!("{place}.{field}: Invalid value: {url:?}: {why}"));
            match url.strip_prefix("https://") {
                None => fault("URL scheme must be https"),
                Some(rest) if rest.split('/').next().unwrap_or_default().contains('@') => {
                    fault("URL must not contain a username or password");
                }
                Some(rest) if rest.contains('?') => fault("URL must not contain a query"),
                Some(rest) if rest.contains('#') => fault("URL must not contain a fragment"),
                Some(_) => {}
            }
        };
        if self.url.is_empty() {
            faults.push(format!("{place}.url: Required value: URL is required"));
        } else {
            url("url", &self.url);
            if !self.discovery_url.is_empty() {
                url("discoveryURL", &self.discovery_url);
            }
        }
        if !self.discovery_url.is_empty()
            && self.discovery_url.trim_end_matches('/') == self.url.trim_end_matches('/')
        {
            faults.push(format!(
                "{place}.discoveryURL: Invalid value: discoveryURL must be different from URL"
            ));
        }
        match self.audiences.as_slice() {
            [] => faults.push(format!("{place}.audiences: Required value: at least one {place}.audiences is required")),
            [_, _, ..] if self.audience_match_policy != "MatchAny" => faults.push(format!(
                "{place}.audienceMatchPolicy: Invalid value: {:?}: audienceMatchPolicy must be MatchAny for multiple \
                 audiences",
                self.audience_match_policy
            )),
            _ => {}
        }
        for (index, audience) in self.audiences.iter().enumerate() {
            if audience.is_empty() {
                faults.push(format!("{place}.audiences[{index}]: Required value: audience can't be empty"));
            }
            if self.audiences[..index].contains(audience) {
                faults.push(format!("{place}.audiences[{index}]: Duplicate value: {audience:?}"));
            }
        }
        if !["", "MatchAny"].contains(&self.audience_match_policy.as_str()) && self.audiences.len() < 2 {
            let policy = &self.audience_match_policy;
            faults.push(format!(
                "{place}.audienceMatchPolicy: Invalid value: {policy:?}: must be empty or MatchAny"
            ));
        }
    }
}

impl Mapping {
    /// Where it comes from; nothing if nowhere. A claim needs a prefix, if there is such a thing, to be said.
    fn read(&self, place: &str, prefixed: Option<&str>, faults: &mut Vec<Fault>) -> Option<From> {
        match (self.claim.is_empty(), self.expression.is_empty()) {
            (true, true) => {
                if self.prefix.is_some() {
                    faults.push(format!("{place}.prefix: Invalid value: can't be set when claim is not set"));
                }
                None
            }
            (false, false) => {
                faults.push(format!("{place}: Invalid value: claim and expression can't both be set"));
                None
            }
            (true, false) => {
                if self.prefix.is_some() {
                    faults.push(format!(
                        "{place}.prefix: Invalid value: prefix can't be set when expression is set"
                    ));
                }
                let compiled = compiled(&format!("{place}.expression"), &self.expression, "claims", faults);
                compiled.map(From::Expression)
            }
            (false, true) => {
                if prefixed.is_some() && self.prefix.is_none() {
                    faults.push(format!(
                        "{place}.prefix: Required value: prefix is required when claim is set. It can be set to an empty \
                         string to disable prefixing"
                    ));
                }
                Some(From::Claim {
                    name: self.claim.clone(),
                    prefix: self.prefix.clone().unwrap_or_default(),
                })
            }
        }
    }
}

impl Mappings {
    fn extra(&self, place: &str, faults: &mut Vec<Fault>) -> Vec<(String, Expression)> {
        let mut all: Vec<(String, Expression)> = Vec::new();
        for (index, extra) in self.extra.iter().enumerate() {
            let place = format!("{place}[{index}]");
            let key = &extra.key;
            let mut fault = |why: &str| faults.push(format!("{place}.key: Invalid value: {key:?}: {why}"));
            match key.split_once('/') {
                Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
                    if *key != key.to_lowercase() {
                        fault("must be lowercase");
                    }
                    if domain == "kubernetes.io"
                        || domain == "k8s.io"
                        || domain.ends_with(".kubernetes.io")
                        || domain.ends_with(".k8s.io")
                    {
                        fault("kubernetes.io, k8s.io and their subdomains are reserved for Kubernetes use");
                    }
                }
                _ => fault("must be a domain-prefixed path (such as \"acme.io/foo\")"),
            }
            if self.extra[..index].iter().any(|other| other.key == *key) {
                faults.push(format!("{place}.key: Duplicate value: {key:?}"));
            }
            let source = &extra.value_expression;
            let compiled = compiled(&format!("{place}.valueExpression"), source, "claims", faults);
            all.extend(compiled.map(|expression| (key.clone(), expression)));
        }
        all
    }
}

impl Claims {
    /// Somebody's word for an address is worth nothing unless the issuer says that it was verified.
    fn check_email(&self, place: &str, faults: &mut Vec<Fault>) {
        let From::Expression(username) = &self.username else { return };
        let uses_email = username.names("claims.email")
            && username.source().replace("claims.email_verified", "").contains("claims.email");
        let verified = username.names("claims.email_verified")
            || self.extra.iter().any(|(_, expression)| expression.names("claims.email_verified"))
            || self.rules.iter().any(|rule| {
                matches!(rule, Rule::Holds { expression, .. } if expression.names("claims.email_verified"))
            });
        if uses_email && !verified {
            faults.push(format!(
                "{place}.username.expression: Invalid value: {:?}: claims.email_verified must be used in \
                 claimMappings.username.expression or claimMappings.extra[*].valueExpression or \
                 claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
                username.source()
            ));
        }
    }
}

fn compiled(place: &str, source: &str, variable: &str, faults: &mut Vec<Fault>) -> Option<Expression> {
    if source.trim().is_empty() {
        faults.push(format!("{place}: Required value: expression is required"));
        return None;
    }
    match Expression::new(source, variable) {
        Ok(expression) => Some(expression),
        Err(why) => {
            faults.push(format!("{place}: Invalid value: {source:?}: {why}"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
