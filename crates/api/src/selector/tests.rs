//! What selectors select, how they print, and how wrong ones are refused.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn control_characters_are_refused_in_the_end() {
    for text in ["a=b\u{c}", "\u{c}", "a\u{b},b", "a in (\u{c})"] {
        assert!(LabelSelector::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn requirements_select_by_presence_value_set_and_number() {
    let object = labels(&[("app", "web"), ("tier", "front"), ("size", "7"), ("in", "x")]);
    for (selector, selected) in [
        ("", true),
        ("app=web", true),
        ("app==web,tier!=back", true),
        ("app=db", false),
        ("missing!=x", true),
        ("app", true),
        ("!app", false),
        (" ! missing ", true),
        ("tier in (front, back)", true),
        ("tier notin (front)", false),
        ("missing notin (a)", true),
        ("size>6,size<8", true),
        ("size>7", false),
        ("app>1", false),
        ("in=x", true),
        ("app in (,web)", true),
        ("app=", false),
    ] {
        let parsed = LabelSelector::parse(selector).unwrap();
        assert_eq!(parsed.matches(&object), selected, "{selector}");
        let printed = parsed.to_string();
        assert_eq!(LabelSelector::parse(&printed).unwrap(), parsed, "{selector} printed as {printed}");
    }
}

#[test]
fn wrong_label_selectors_are_refused_in_upstreams_words() {
    for (selector, message) in [
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        (
            "a in ()",
            "unable to parse requirement: values: Invalid value: []string{}: for 'in', 'notin' operators, values set can't be empty",
        ),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "-a=b",
            "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
    ] {
        assert_eq!(LabelSelector::parse(selector).unwrap_err().to_string(), message, "{selector}");
    }
}

#[test]
fn a_v1_selector_is_the_conjunction_of_its_parts() {
    let selector = serde_json::from_value(serde_json::json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["b", "a"]}],
    }));
    let parsed = LabelSelector::of(&selector.unwrap()).unwrap();
    assert_eq!(parsed.to_string(), "app=web,tier notin (a,b)");
    assert!(parsed.matches(&labels(&[("app", "web")])));
    assert!(!parsed.matches(&labels(&[("app", "web"), ("tier", "a")])));
}

#[test]
fn fields_compare_for_equality_with_escapes() {
    let fields = [("status.phase", "Running"), ("spec.nodeName", ""), ("metadata.name", "a,b=c")];
    for (selector, selected) in [
        ("", true),
        ("status.phase=Running", true),
        ("status.phase==Running,spec.nodeName=", true),
        ("status.phase!=Running", false),
        ("spec.nodeName!=", false),
        (r"metadata.name=a\,b\=c", true),
    ] {
        let parsed = FieldSelector::parse(selector).unwrap();
        assert_eq!(parsed.matches_pairs(&fields), selected, "{selector}");
        assert_eq!(FieldSelector::parse(&parsed.to_string()).unwrap(), parsed);
    }
    let wrong = |text: &str| FieldSelector::parse(text).unwrap_err().to_string();
    assert_eq!(wrong("a=b,c"), "invalid selector: 'a=b,c'; can't understand 'c'");
    assert_eq!(wrong(r"a=\x"), r"invalid field selector: invalid escape sequence: \x");
    let unknown = FieldSelector::parse("spec.foo=1").unwrap().check(|name| name == "metadata.name");
    assert_eq!(unknown.unwrap_err().to_string(), "field label not supported: spec.foo");
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_but_never_panics(text in "[a-z!=<>(), in\\\\]{0,24}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
        }
        if let Ok(selector) = FieldSelector::parse(&text) {
            let again = FieldSelector::parse(&selector.to_string()).unwrap();
            prop_assert_eq!(again.to_string(), selector.to_string());
        }
    }

    #[test]
    fn in_and_notin_are_opposites(value in "[a-c]", set in proptest::collection::vec("[a-c]", 1..3)) {
        let object = labels(&[("k", &value)]);
        let set = set.join(",");
        let inside = LabelSelector::parse(&format!("k in ({set})")).unwrap().matches(&object);
        let outside = LabelSelector::parse(&format!("k notin ({set})")).unwrap().matches(&object);
        prop_assert_ne!(inside, outside);
    }
}
