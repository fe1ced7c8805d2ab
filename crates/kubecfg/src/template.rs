//! Go's text templates, as much of them as people wrote for kubecfg: fields, variables, pipelines, if/else, range, with,
//! named templates and the built-in functions.
//!
//! The data is v1beta1's JSON. A key is looked up as it is spelled and then in any case, so that templates for v0.4
//! (`.Items`, Go's field names) and for v0.5 (`.items`, the wire's) both work.

mod eval;
mod funcs;
mod lex;
mod parse;
mod printf;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

/// What is wrong with a template or with what it is run on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Wrong {
    #[error("template: {0}")]
    Syntax(String),
    #[error("template: function {0:?} not defined")]
    Function(String),
    #[error("template: {0}")]
    Run(String),
}

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    body: Vec<Node>,
    named: BTreeMap<String, Vec<Node>>,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        parse::parse(text)
    }

    /// Runs it on `data`.
    pub(crate) fn run(&self, data: &Value) -> Result<String, Wrong> {
        eval::run(self, data)
    }
}

/// A piece of a template.
#[derive(Debug)]
enum Node {
    Text(String),
    Print(Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    Call(String, Option<Pipeline>),
}

/// Commands, each fed with the result of the one before; and the variables that the last result is given to.
#[derive(Debug, Default)]
struct Pipeline {
    declare: Vec<String>,
    /// `=` instead of `:=`.
    assign: bool,
    commands: Vec<Vec<Operand>>,
}

/// A value and the fields that are taken of it.
#[derive(Debug)]
struct Operand {
    base: Base,
    fields: Vec<String>,
}

#[derive(Debug)]
enum Base {
    Dot,
    Variable(String),
    Function(String),
    Literal(Value),
    Inner(Pipeline),
}
