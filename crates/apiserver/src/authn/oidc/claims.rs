//! From the claims of a verified token to a user, as an AuthenticationConfiguration says: by the names of claims, or by
//! expressions over them.
//!
//! Follows upstream's `apiserver/pkg/authentication/cel` and the structured half of its OpenID Connect authenticator.
//! Expressions are compiled once; one that cannot be evaluated refuses the token.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skiff_api::cel::{self, Env, PER_OBJECT, Program, Scope};

use crate::user::User;

/// A compiled expression and its text.
#[derive(Debug)]
pub(in crate::authn) struct Expression {
    source: String,
    program: Program,
}

impl Expression {
    /// Compiles an expression that sees one variable.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::authn) fn new(source: &str, variable: &str) -> Result<Self, String> {
        let env = Env { variables: &[variable], objects: false, authorizer: false };
        let program = Program::compile(source, &env).map_err(|why| format!("compilation failed: {why}"))?;
        Ok(Self { source: source.to_owned(), program })
    }

    /// True if it mentions a claim: by its text, since that is how people write it.
    pub(in crate::authn) fn names(&self, claim: &str) -> bool {
        self.source.contains(claim)
    }

    pub(in crate::authn) fn source(&self) -> &str {
        &self.source
    }

    fn value(&self, scope: &Scope) -> Result<cel::Value, String> {
        let mut budget = PER_OBJECT;
        let outcome = self.program.evaluate(scope, &mut budget);
        outcome.map_err(|fault| format!("expression '{}' resulted in error: {fault}", self.source))
    }

    fn texts(&self, scope: &Scope) -> Result<Vec<String>, String> {
        let wrong = || format!("expression '{}' must return a string or a list of strings", self.source);
        match self.value(scope)?.to_json().ok_or_else(wrong)? {
            Value::Null => Ok(Vec::new()),
            Value::String(text) => Ok(if text.is_empty() { Vec::new() } else { vec![text] }),
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            _ => Err(wrong()),
        }
    }

    fn text(&self, scope: &Scope) -> Result<String, String> {
        let value = self.value(scope)?;
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| format!("expression '{}' must return a string", self.source))
    }

    fn holds(&self, scope: &Scope) -> Result<bool, String> {
        let truth = self.value(scope)?.as_bool();
        truth.ok_or_else(|| format!("expression '{}' must return a bool", self.source))
    }
}

/// Where something of the user comes from.
#[derive(Debug)]
pub(in crate::authn) enum From {
    Claim { name: String, prefix: String },
    Expression(Expression),
}

/// What a token must claim to be believed at all.
#[derive(Debug)]
pub(in crate::authn) enum Rule {
    Claim { name: String, required: String },
    Holds { expression: Expression, message: String },
}

/// Everything about the claims of one issuer.
#[derive(Debug)]
pub(in crate::authn) struct Claims {
    pub(in crate::authn) username: From,
    pub(in crate::authn) groups: Option<From>,
    pub(in crate::authn) uid: Option<From>,
    /// Key and value.
    pub(in crate::authn) extra: Vec<(String, Expression)>,
    pub(in crate::authn) rules: Vec<Rule>,
    /// What must hold of the user that comes out, and what is said if it does not.
    pub(in crate::authn) user_rules: Vec<(Expression, String)>,
}

impl Claims {
    /// The user of a token; `id` is what the token itself is known by.
    ///
    /// # Errors
    /// Why there is none.
    pub(in crate::authn) fn user(
        &self,
        claims: &Value,
        id: BTreeMap<String, Vec<String>>,
    ) -> Result<User, String> {
        let mut scope = Scope::new();
        scope.set("claims", cel::Value::json(claims));
        for rule in &self.rules {
            rule.check(claims, &scope)?;
        }
        let name = self.username(claims, &scope)?;
        let groups = match &self.groups {
            None => Vec::new(),
            Some(From::Expression(expression)) => expression.texts(&scope)?,
            Some(From::Claim { name, prefix }) => {
                listed(claims, name)?.into_iter().map(|group| format!("{prefix}{group}")).collect()
            }
        };
        let uid = match &self.uid {
            None => String::new(),
            Some(From::Expression(expression)) => expression.text(&scope)?,
            Some(From::Claim { name, .. }) => text(claims, name)?,
        };
        let mut extra = id;
        for (key, expression) in &self.extra {
            let values: Vec<String> =
                expression.texts(&scope)?.into_iter().filter(|value| !value.is_empty()).collect();
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        let mut scope = Scope::new();
        let shown = json!({ "username": name, "uid": uid, "groups": groups, "extra": extra });
        scope.set("user", cel::Value::json(&shown));
        for (expression, message) in &self.user_rules {
            if !expression.holds(&scope)? {
                return Err(said(message, expression));
            }
        }
        Ok(User::new(&name, groups).known_by(&uid, extra))
    }

    fn username(&self, claims: &Value, scope: &Scope) -> Result<String, String> {
        let name = match &self.username {
            From::Expression(expression) => expression.text(scope)?,
            From::Claim { name, prefix } => {
                let unverified = claims.get("email_verified").is_some_and(|verified| *verified != true);
                if name == "email" && unverified {
                    return Err("email not verified".to_owned());
                }
                format!("{prefix}{}", text(claims, name)?)
            }
        };
        if name.is_empty() { Err("username must not be empty".to_owned()) } else { Ok(name) }
    }
}

impl Rule {
    fn check(&self, claims: &Value, scope: &Scope) -> Result<(), String> {
        match self {
            Self::Claim { name, required } => match claims.get(name) {
                None => Err(format!("required claim {name} not present in ID token")),
                Some(value) if value.as_str() == Some(required) => Ok(()),
                Some(value) => {
                    let got = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    Err(format!("required claim {name} value does not match. Got = {got}, want = {required}"))
                }
            },
            Self::Holds { expression, message } => {
                if expression.holds(scope)? {
                    Ok(())
                } else {
                    Err(said(message, expression))
                }
            }
        }
    }
}

fn said(message: &str, expression: &Expression) -> String {
    if message.is_empty() {
        format!("validation expression '{}' failed", expression.source)
    } else {
        message.to_owned()
    }
}

fn text(claims: &Value, name: &str) -> Result<String, String> {
    match claims.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("parse claim {name:?}: not a string")),
        None => Err(format!("parse claim {name:?}: claim not present")),
    }
}

/// A claim that is one text or several, or not there.
fn listed(claims: &Value, name: &str) -> Result<Vec<String>, String> {
    match claims.get(name) {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(many)) => Ok(many.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Some(_) => Err(format!("parse groups claim {name:?}: not a string or a list of strings")),
    }
}
