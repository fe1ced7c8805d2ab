//! From text to a tree, with limits: the parser and the interpreter recurse, so long chains and deep nests are refused.

use std::sync::Arc;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::SourceInfo;
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
    parser().parse(source).map_err(|faults| faults.to_string())
}

fn parser() -> Parser {
    Parser::new().enable_optional_syntax(true)
}

/// Where in a text that can be parsed its parts stand, by their ids.
///
/// The parser tells that only with its complaints. So it gets something to complain about that changes no tree: behind the
/// end a letter that begins no token, which its lexer passes over.
pub(super) fn places(source: &str) -> Option<Arc<SourceInfo>> {
    let faults = parser().parse(&format!("{source}\n$")).err()?;
    faults.errors.into_iter().find_map(|fault| fault.source_info)
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
