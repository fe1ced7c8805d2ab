//! Expressions and what is said of them.

use serde_json::json;

use super::check;
use crate::cel::types::Type;

fn schemas() -> serde_json::Value {
    json!({ "components": { "schemas": {
        "apps.v1.Thing": {
            "type": "object",
            "x-kubernetes-group-version-kind": [{ "group": "apps", "version": "v1", "kind": "Thing" }],
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "metadata": { "default": {}, "allOf": [{ "$ref": "#/components/schemas/meta.v1.ObjectMeta" }] },
                "spec": { "$ref": "#/components/schemas/apps.v1.ThingSpec" },
            },
        },
        "apps.v1.ThingSpec": { "type": "object", "properties": {
            "replicas": { "type": "integer", "format": "int32" },
            "paused": { "type": "boolean" },
            "names": { "type": "array", "items": { "type": "string" } },
            "parts": { "type": "array", "items": { "$ref": "#/components/schemas/apps.v1.Part" } },
            "limits": { "type": "object", "additionalProperties": { "oneOf": [{ "type": "string" }, { "type": "number" }] } },
            "port": { "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] },
            "within": { "$ref": "#/components/schemas/apps.v1.ThingSpec" },
            "namespace": { "type": "string" },
        } },
        "apps.v1.Part": { "type": "object", "properties": { "image": { "type": "string" }, "data": { "type": "string", "format": "byte" } } },
        "meta.v1.ObjectMeta": { "type": "object", "properties": {
            "name": { "type": "string" },
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "creationTimestamp": { "type": "string", "format": "date-time" },
        } },
    } } })
}

fn said(source: &str) -> String {
    let thing = Type::of_kind(&schemas(), "apps", "v1", "Thing").unwrap();
    let variables = [
        ("object".to_owned(), thing),
        ("params".to_owned(), Type::Dyn),
        ("request".to_owned(), Type::request()),
        ("namespaceObject".to_owned(), Type::namespace()),
        ("authorizer".to_owned(), Type::authorizer()),
        ("variables".to_owned(), Type::object("kubernetes.variables", [("count".to_owned(), Type::Int)])),
    ];
    match check(source, &variables) {
        Ok(given) => given.to_string(),
        Err(faults) => faults,
    }
}

/// What is said without the text and the arrow below it.
fn first_lines(source: &str) -> Vec<String> {
    let said = said(source);
    said.lines().filter_map(|line| line.strip_prefix("ERROR: <input>:")).map(str::to_owned).collect()
}

#[test]
fn what_is_right_has_a_type() {
    for (source, gives) in [
        ("object.spec.replicas <= 5 && !object.spec.paused", "bool"),
        ("object.spec.parts.all(part, part.image.startsWith('x'))", "bool"),
        ("object.spec.parts.map(part, part.image)", "list(string)"),
        ("object.spec.parts.filter(part, has(part.data))", "list(Thing.spec.parts.@idx)"),
        ("object.spec.parts.exists_one(part, part.image == 'a')", "bool"),
        ("object.metadata.labels.exists(key, key == 'app')", "bool"),
        ("object.metadata.labels.all(key, value, value != key)", "bool"),
        ("object.metadata.labels['app']", "string"),
        ("object.metadata.labels.app + '-' + string(object.spec.replicas)", "string"),
        ("object.metadata.?labels[?'app'].orValue('none')", "string"),
        (
            "object.spec.limits['cpu'] == '1' || quantity(object.spec.limits.cpu).isLessThan(quantity('2'))",
            "bool",
        ),
        ("object.spec.port == 80 || object.spec.port == 'http'", "bool"),
        ("object.spec.__namespace__", "string"),
        ("object.spec.within == null", "bool"),
        ("object == null ? 0 : size(object.spec.names)", "int"),
        ("request.userInfo.groups.exists(group, group in ['a', 'b'])", "bool"),
        ("namespaceObject.metadata.labels.env == params.whatever.there[0].is", "bool"),
        ("authorizer.group('apps').resource('things').namespace('x').check('get').allowed()", "bool"),
        ("authorizer.requestResource.check('get').reason()", "string"),
        ("variables.count + 1", "int"),
        ("object.metadata.creationTimestamp + duration('1h') < timestamp('2026-01-01T00:00:00Z')", "bool"),
        ("cel.bind(n, object.spec.names, n.size() > 1 ? n[0] : '')", "string"),
        ("[] == object.spec.names", "bool"),
        ("{'a': 1, 'b': 2}['a']", "int"),
        ("math.greatest(object.spec.replicas, 1)", "dyn"),
        ("type(object.spec.port) == int", "bool"),
        ("sets.contains(object.spec.names, ['a'])", "bool"),
        ("object.spec.names.join(', ')", "string"),
    ] {
        assert_eq!(said(source), gives, "{source}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (source, faults) in [
        ("object.foo == 'bar'", &["1:7: undefined field 'foo'"][..]),
        ("has(object.spec.replica)", &["1:4: undefined field 'replica'"]),
        ("object.spec.within.replicas > 1", &["1:19: undefined field 'replicas'"]),
        (
            "object.spec.replicas == '1'",
            &["1:22: found no matching overload for '_==_' applied to '(int, string)'"],
        ),
        (
            "object.spec.names == null",
            &["1:19: found no matching overload for '_==_' applied to '(list(string), null)'"],
        ),
        (
            "object.spec.parts.all(p, p.image)",
            &["1:22: found no matching overload for '_&&_' applied to '(bool, string)'"],
        ),
        ("object.spec.parts.all(p, p.imag == '')", &["1:27: undefined field 'imag'"]),
        (
            "object.spec.replicas.startsWith('a')",
            &["1:32: found no matching overload for 'startsWith' applied to 'int.(string)'"],
        ),
        (
            "authorizer.allowed()",
            &[
                "1:19: found no matching overload for 'allowed' applied to 'kubernetes.authorization.Authorizer.()'",
            ],
        ),
        ("object.spec.replicas.x", &["1:21: type 'int' does not support field selection"]),
        ("[1, 'a'].size() > 0", &["1:5: expected type 'int' but found 'string'"]),
        (
            "object.spec.replicas.all(x, true)",
            &[
                "1:12: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
            ],
        ),
        ("request.user == 'me'", &["1:8: undefined field 'user'"]),
        ("variables.nonExisting", &["1:10: undefined field 'nonExisting'"]),
        ("nobody > 1", &["1:1: undeclared reference to 'nobody' (in container '')"]),
        ("object.a &&\n object.b", &["1:7: undefined field 'a'", "2:8: undefined field 'b'"]),
        (
            "true ? object.spec.replicas : object.metadata.name",
            &["1:6: found no matching overload for '_?_:_' applied to '(bool, int, string)'"],
        ),
    ] {
        assert_eq!(first_lines(source), faults, "{source}");
    }
    let shown = "ERROR: <input>:1:7: undefined field 'foo'\n | object.foo == 'bar'\n | ......^";
    assert_eq!(said("object.foo == 'bar'"), shown);
}

#[test]
fn the_root_of_a_custom_resource_has_its_name_whatever_its_schema_says() {
    let document = json!({ "components": { "schemas": { "x": {
        "x-kubernetes-group-version-kind": [{ "group": "g", "version": "v1", "kind": "K" }],
        "properties": { "spec": { "type": "object", "properties": { "any": { "x-kubernetes-preserve-unknown-fields": true } } } },
    } } } });
    let kind = Type::of_kind(&document, "g", "v1", "K").unwrap();
    let variables = [("object".to_owned(), kind)];
    for right in ["object.metadata.name == object.kind", "object.spec.any.thing == 1"] {
        assert_eq!(check(right, &variables), Ok(Type::Bool), "{right}");
    }
    assert!(
        check("object.metadata.labels == {}", &variables).unwrap_err().contains("undefined field 'labels'")
    );
    assert!(Type::of_kind(&document, "g", "v2", "K").is_none());
}
