//! Templates as people wrote them, and the mistakes they made.

use serde_json::json;

use super::*;

fn data() -> Value {
    json!({"kind": "PodList", "items": [
        {"id": "a", "labels": {"name": "x", "role": "y"}, "currentState": {"status": "Running", "info": {"net": {"podIP": "10.1.0.2"}}}},
        {"id": "b", "currentState": {"status": "Waiting"}, "port": 80}]})
}

fn check(template: &str, expected: &str) {
    let ran = Template::parse(template).and_then(|parsed| parsed.run(&data()));
    assert_eq!(ran.as_deref(), Ok(expected), "{template}");
}

#[test]
fn the_templates_of_both_profiles_work() {
    check("{{range .Items}}{{.ID}} {{end}}", "a b ");
    check("{{range .items}}{{.id}}{{end}}", "ab");
    check("{{range .items}}{{.CurrentState.Info.net.PodIP}};{{end}}", "10.1.0.2;<no value>;");
}

#[test]
fn control_structures_nest() {
    check("{{range .items}}{{if .labels}}L{{else if .port}}P{{else}}N{{end}}{{end}}", "LP");
    check("{{range .nothing}}x{{else}}empty{{end}}", "empty");
    check("{{with .kind}}{{.}}{{end}}{{with .none}}x{{else}}-{{end}}", "PodList-");
    check("{{range $i, $p := .items}}{{$i}}={{$p.id}}{{$.kind}} {{end}}", "0=aPodList 1=bPodList ");
    check("{{with index .items 0}}{{range $k, $v := .labels}}{{$k}}:{{$v}},{{end}}{{end}}", "name:x,role:y,");
    check("{{$x := 1}}{{range .items}}{{$x = 2}}{{end}}{{$x}}", "2");
}

#[test]
fn functions_and_pipelines_compose() {
    check("{{len .items}}", "2");
    check("{{(index .items 1).port | printf \"%05d|%-4s|\" 7}}", "00007|%!s(80)|");
    check("{{printf \"%s is %q at %.1f%%\" .kind \"x\" 2}}", "PodList is \"x\" at 2.0%");
    check("{{if and (eq .kind \"PodList\") (gt (len .items) 1)}}yes{{end}}", "yes");
    check("{{if or .none (not .none)}}yes{{end}}{{if ne 1 2}}!{{end}}{{eq 1 3 1}}", "yes!true");
    check("{{print \"a\" 1 2 \"b\"}}{{println 1}}", "a1 2b1\n");
    check("{{\"<a&b>\" | html}}{{urlquery \"a b\"}}", "&lt;a&amp;b&gt;a+b");
    check("{{exists . \"items\" 0 \"labels\"}}{{exists . \"items\" 1 \"labels\"}}", "truefalse");
    check("{{index (index .items 0).labels \"role\"}}", "y");
    check("{{(index .items 0).labels}}", "map[name:x role:y]");
}

#[test]
fn blanks_comments_and_definitions() {
    check("a {{- /* no */ -}} b", "ab");
    check("a {{- .kind -}} b", "aPodListb");
    check("{{define \"t\"}}<{{.}}>{{end}}{{range .items}}{{template \"t\" .id}}{{end}}", "<a><b>");
    check("{{`}}`}}{{\"}}\\n\"}}", "}}}}\n");
}

#[test]
fn mistakes_are_named() {
    for (template, part) in [
        ("{{", "unclosed action"),
        ("{{if .x}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{nope .x}}", "function \"nope\" not defined"),
        ("{{.x | }}", "missing value"),
        ("{{$y}}", "undefined variable"),
        ("{{index .items 9}}", "out of range"),
        ("{{(.x}}", "unclosed left paren"),
        ("{{.a .b}}", "non-function"),
        ("{{template \"t\"}}", "not defined"),
        ("{{define \"t\"}}{{template \"t\"}}{{end}}{{template \"t\"}}", "depth"),
        ("{{range .kind}}{{end}}", "can't iterate"),
        ("{{eq}}{{index}}", "missing argument"),
    ] {
        let ran = Template::parse(template).and_then(|parsed| parsed.run(&data()));
        let text = ran.expect_err(template).to_string();
        assert!(text.contains(part), "{template}: {text}");
    }
}
