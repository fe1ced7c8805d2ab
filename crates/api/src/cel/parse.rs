//! From text to a tree, with limits: the parser and the interpreter recurse, so long chains and deep nests are refused.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::parser::Parser;

/// The longest expression, in bytes.
const LONGEST: usize = 16 * 1024;
/// How many operators an expression may have: each may be one level of recursion.
const OPERATORS: usize = 600;
/// How deep brackets may nest.
const NESTED: u16 = 48;

/// Parses `source`.
///
/// # Errors
/// Syntax errors in the parser's words, which are those of upstream's ANTLR grammar.
pub(super) fn parse(source: &str) -> Result<IdedExpr, String> {
    if source.len() > LONGEST {
        let size = source.chars().count();
        return Err(format!(
            "ERROR: <input>:-1:0: expression code point size exceeds limit: size: {size}, limit: {LONGEST}"
        ));
    }
    if operators(source) > OPERATORS || nested(source) > NESTED {
        return Err("ERROR: <input>:-1:0: expression recursion limit exceeded: 250".to_owned());
    }
    Parser::new().enable_optional_syntax(true).parse(source).map_err(|faults| faults.to_string())
}

/// An upper bound for the operators outside texts; what stands in texts counts too.
fn operators(source: &str) -> usize {
    source.bytes().filter(|byte| b"+-*/%<>=!&|?.[({".contains(byte)).count()
}

fn nested(source: &str) -> u16 {
    let (mut depth, mut deepest) = (0_u16, 0_u16);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth = depth.saturating_add(1),
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
