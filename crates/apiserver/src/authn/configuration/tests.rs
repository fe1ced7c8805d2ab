//! Files that are fine, files that are not, and the users that come out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn parsed(rest: &str) -> Result<AuthenticationConfiguration, String> {
    let yaml =
        format!("{{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, {rest}}}");
    AuthenticationConfiguration::parse(&yaml, &["https://own".to_owned()]).map_err(|error| error.to_string())
}

fn issuer(rest: &str) -> Result<AuthenticationConfiguration, String> {
    parsed(&format!("jwt: [{{issuer: {{url: 'https://i', audiences: [a]}}, {rest}}}]"))
}

fn user(rest: &str, claims: Value) -> Result<(String, Vec<String>, String), String> {
    let read = issuer(rest).unwrap();
    let claims = read.issuers[0].claims.as_ref().unwrap().user(&claims, BTreeMap::new())?;
    Ok((claims.name.to_string(), claims.groups.to_vec(), claims.uid.to_string()))
}

#[test]
fn expressions_make_the_user_and_judge_it() {
    let rest = "claimValidationRules: [{expression: 'claims.hd == \"x.io\"', message: wrong house}], claimMappings: \
                {username: {expression: 'claims.sub + \"@\" + claims.hd'}, groups: {expression: 'claims.roles.split(\",\")'}, \
                uid: {claim: id}, extra: [{key: 'x.io/team', valueExpression: claims.team}]}, userValidationRules: \
                [{expression: '!user.username.startsWith(\"system:\")', message: reserved}]";
    let claims =
        |sub: &str, house: &str| json!({ "sub": sub, "hd": house, "roles": "a,b", "id": "7", "team": "t" });
    let all = "system:authenticated".to_owned();
    assert_eq!(
        user(rest, claims("jane", "x.io")),
        Ok(("jane@x.io".to_owned(), vec!["a".to_owned(), "b".to_owned(), all], "7".to_owned()))
    );
    assert_eq!(user(rest, claims("jane", "y.io")), Err("wrong house".to_owned()));
    assert_eq!(user(rest, claims("system:x", "x.io")), Err("reserved".to_owned()));
    let missing = user(rest, json!({ "sub": "jane" })).unwrap_err();
    assert!(missing.contains("no such key: hd"), "{missing}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let plain = "claimMappings: {username: {claim: sub, prefix: ''}}";
    assert_eq!(issuer(plain).unwrap().issuers.len(), 1);
    for (fault, expected) in [
        (issuer("claimMappings: {username: {claim: sub}}"), "username.prefix: Required value"),
        (issuer("claimMappings: {username: {}}"), "claim or expression is required"),
        (issuer("claimMappings: {username: {expression: 'nobody.sub'}}"), "undeclared reference to 'nobody'"),
        (
            issuer("claimMappings: {username: {expression: 'claims.email'}}"),
            "claims.email_verified must be used",
        ),
        (issuer(&format!("{plain}, odd: 1")), "unknown field `odd`"),
        (
            parsed(&format!("jwt: [{{issuer: {{url: 'http://i', audiences: [a]}}, {plain}}}]")),
            "jwt[0].issuer.url: Invalid value: \"http://i\": URL scheme must be https",
        ),
        (
            parsed(&format!("jwt: [{{issuer: {{url: 'https://own', audiences: [a, b]}}, {plain}}}]")),
            "must not overlap with disallowed issuers",
        ),
        (
            parsed(&format!("jwt: [{{issuer: {{url: 'https://i', audiences: [a, b]}}, {plain}}}]")),
            "audienceMatchPolicy must be MatchAny",
        ),
        (parsed("anonymous: {enabled: false, conditions: [{path: /livez}]}"), "should be set to true"),
    ] {
        let fault = fault.map(|_| ()).unwrap_err();
        assert!(fault.contains(expected), "{fault}");
    }
    let open = parsed("anonymous: {enabled: true, conditions: [{path: /livez}]}").unwrap().anonymous;
    assert_eq!(open, Some(Anonymous { enabled: true, paths: vec!["/livez".to_owned()] }));
}
