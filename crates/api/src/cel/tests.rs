//! What expressions give, and what is said of those that give nothing.

use serde_json::json;

use super::{Env, Fault, Kind, PER_OBJECT, Program, Scope, Value};

const VARIABLES: &[&str] = &["object", "oldObject", "params", "variables.replicas"];

fn env() -> Env<'static> {
    Env { variables: VARIABLES, objects: true, authorizer: true }
}

fn scope() -> Scope {
    let mut scope = Scope::new();
    scope.set(
        "object",
        Value::json(&json!({
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "tier": "front"}},
            "spec": {"replicas": 3, "paused": false, "items": [1, 2, 3], "cpu": "500m", "ratio": 0.5},
        })),
    );
    scope.set("oldObject", Value::null());
    scope.set("variables.replicas", Value::json(&json!(3)));
    scope
}

#[track_caller]
fn evaluate(source: &str) -> Result<serde_json::Value, Fault> {
    let program = Program::compile(source, &env()).unwrap_or_else(|why| panic!("{source}: {why}"));
    program.evaluate(&scope(), &mut PER_OBJECT.clone()).map(|value| value.to_json().unwrap_or_default())
}

#[test]
fn expressions_see_the_object() {
    for source in [
        "object.spec.replicas == 3",
        "object.spec.replicas <= 3 && object.spec.replicas >= 3",
        "object.metadata.namespace == 'shop'",
        "object.metadata['name'].startsWith('we')",
        "has(object.spec.replicas) && !has(object.spec.missing)",
        "object.metadata.labels.all(key, key.size() > 2)",
        "object.metadata.labels.exists(key, object.metadata.labels[key] == 'front')",
        "object.spec.items.map(x, x * 2) == [2, 4, 6]",
        "object.spec.items.filter(x, x > 1).size() == 2",
        "quantity(object.spec.cpu).isLessThan(quantity('1'))",
        "variables.replicas + 1 == 4",
        "has(variables.replicas)",
        "oldObject == null",
        "object.spec.?missing.orValue(7) == 7",
        "object.?spec.?replicas.orValue(7) == 3",
        "object.?missing.deeper.orValue('none') == 'none'",
        "object.?spec.?replicas.hasValue()",
        "object.spec.items[?9].orValue(0) == 0",
        "cel.bind(n, object.spec.replicas, n * n == 9)",
        "object.spec.?replicas.optMap(n, n + 1).orValue(0) == 4",
        "object.metadata.labels.all(k, v, k != v || k == 'app' || true)",
        "[10, 20].exists(i, x, i == 1 && x == 20)",
        "['a', 'b'].transformList(i, x, x + string(i)) == ['a0', 'b1']",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
        "type(object.spec.replicas) == int && type('x') == string",
        "dyn(1) == 1 && bool('true')",
        "sets.contains(['a', 'b'], ['a'])",
        "format.dns1123Label().validate('web') == optional.none()",
        "'%s-%d'.format(['a', 1]) == 'a-1'",
        "isIP('10.0.0.1') && cidr('10.0.0.0/8').containsIP('10.0.0.1')",
        "duration('1h') > duration('59m') && timestamp('2024-01-01T00:00:00Z').getFullYear() == 2024",
        "'abc'.matches('^a.c$') && 'a,b'.split(',').size() == 2",
        "math.greatest(1, 2) == 2 && lists.range(3) == [0, 1, 2]",
        "Object{spec: Object.spec{replicas: 1}} == {'spec': {'replicas': 1}}",
        "JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: 1}.path == '/a/b~1c'",
    ] {
        assert_eq!(evaluate(source), Ok(json!(true)), "{source}");
    }
}

#[test]
fn faults_are_in_the_words_of_upstream() {
    let fault = |source| evaluate(source).expect_err(source).to_string();
    assert_eq!(fault("object.spec.missing > 1"), "no such key: missing");
    assert_eq!(fault("object.spec.replicas.deeper == 1"), "no such overload");
    assert_eq!(fault("object.spec.replicas == 3 && oldObject.spec.x"), "no such overload");
    assert_eq!(fault("object.spec.replicas > 'x'"), "no such overload");
    assert_eq!(fault("1 / (object.spec.replicas - 3) == 1"), "division by zero");
    assert_eq!(fault("object.spec.items[9] == 1"), "index out of bounds: 9");
}

#[test]
fn unknown_names_are_found_when_compiling() {
    let wrong = |source: &str| Program::compile(source, &env()).expect_err(source);
    assert_eq!(
        wrong("object.spec.replicas > limit"),
        "ERROR: <input>:1:24: undeclared reference to 'limit' (in container '')\n | object.spec.replicas > limit\n \
         | .......................^"
    );
    assert!(wrong("nosuch(object)").contains("undeclared reference to 'nosuch' (in container '')"));
    assert!(wrong("object.nosuch(1)").contains("undeclared reference to 'nosuch'"));
    assert!(wrong("variables.other > 1").contains("undefined field 'other'"));
    assert!(wrong("Foo{a: 1}").contains("undeclared reference to 'Foo'"));
    assert!(wrong("object.spec.replicas >").contains("Syntax error"), "{}", wrong("object.spec.replicas >"));
    assert!(wrong("").contains("Syntax error"));
}

#[test]
fn the_kind_of_a_value_is_told_where_it_can_be() {
    let kind = |source: &str| Program::compile(source, &env()).expect(source).kind();
    assert_eq!(kind("object.spec.replicas > 1"), Some(Kind::Bool));
    assert_eq!(kind("object.items.all(x, x > 1)"), Some(Kind::Bool));
    assert_eq!(kind("'a' + object.name"), Some(Kind::String));
    assert_eq!(kind("object.spec.paused"), None);
    assert_eq!(kind("object.spec.paused ? 1 : 2"), Some(Kind::Int));
}

#[test]
fn loops_without_end_are_stopped() {
    let nested =
        "lists.range(1000).map(a, lists.range(1000).map(b, lists.range(1000).map(c, a + b + c))).size() > 0";
    assert_eq!(evaluate(nested), Err(Fault::Cost));
    assert_eq!(evaluate("lists.range(100000000).size() > 0"), Err(Fault::Cost));
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let deep = |source: String| Program::compile(&source, &env()).expect_err("too deep");
    assert!(deep(format!("{}1{}", "(".repeat(2000), ")".repeat(2000))).contains("recursion limit"));
    assert!(deep(format!("1{}", " + 1".repeat(5000))).contains("limit"));
    assert!(deep(format!("1{}", " + 1".repeat(550))).contains("limit"));
    assert!(deep(format!("'{}'", "a".repeat(20_000))).contains("expression code point size exceeds limit"));
    assert!(Program::compile(&format!("1{}", " + 1".repeat(200)), &env()).is_ok());
}

#[test]
fn values_come_back_as_json() {
    let value = evaluate("{'a': [1, 2u, 1.5, 'x', null, true], 'b': duration('90s')}").expect("evaluates");
    assert_eq!(value, json!({"a": [1, 2, 1.5, "x", null, true], "b": "90s"}));
}

#[test]
fn a_program_names_what_it_refers_to() {
    let program =
        Program::compile("variables.replicas > 1 && object.x == params.y", &env()).expect("compiles");
    assert_eq!(program.references(), ["object", "params", "variables.replicas"]);
    assert!(program.mentions("params") && !program.mentions("oldObject"));
}

#[test]
fn the_authorizer_is_asked_step_by_step() {
    struct Only;
    impl super::Authorizer for Only {
        fn answer(&self, question: &super::Question) -> (bool, String) {
            (
                question.resource == "pods" && question.verb == "list" && question.namespace == "shop",
                "so".to_owned(),
            )
        }
    }
    let mut scope = scope();
    let who: std::sync::Arc<dyn super::Authorizer> = std::sync::Arc::new(Only);
    let request =
        super::Question { resource: "pods".to_owned(), namespace: "shop".to_owned(), ..Default::default() };
    scope.set_authorizer(&who, request);
    for source in [
        "authorizer.group('').resource('pods').namespace('shop').check('list').allowed()",
        "!authorizer.group('').resource('secrets').check('list').allowed()",
        "authorizer.requestResource.check('list').allowed()",
        "authorizer.requestResource.check('list').reason() == 'so'",
    ] {
        let program = Program::compile(source, &env()).expect(source);
        assert_eq!(program.holds(&scope, &mut PER_OBJECT.clone()), Ok(true), "{source}");
    }
}
