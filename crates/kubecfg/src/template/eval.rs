//! Runs a template on a tree.

use serde_json::Value;

use super::{Base, Node, Operand, Pipeline, Template, Wrong, funcs};

/// Templates may call each other, but not for ever.
const DEPTH: usize = 100;

/// Runs a template.
pub(super) fn run(template: &Template, data: &Value) -> Result<String, Wrong> {
    let mut run = Run { template, out: String::new(), vars: vec![(String::new(), data.clone())], depth: 0 };
    run.nodes(&template.body, data)?;
    Ok(run.out)
}

struct Run<'a> {
    template: &'a Template,
    out: String,
    /// Innermost last; the one without a name is `$`.
    vars: Vec<(String, Value)>,
    depth: usize,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Wrong> {
        for node in nodes {
            self.node(node, dot)?;
        }
        Ok(())
    }

    /// Nodes whose variables end with them.
    fn scope(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Wrong> {
        let mark = self.vars.len();
        let result = self.nodes(nodes, dot);
        self.vars.truncate(mark);
        result
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), Wrong> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.declare.is_empty() {
                    self.out.push_str(&funcs::text(&value));
                }
            }
            Node::If(pipeline, body, other) | Node::With(pipeline, body, other) => {
                let mark = self.vars.len();
                let value = self.pipeline(pipeline, dot)?;
                let inside = if matches!(node, Node::With(..)) { &value } else { dot };
                if funcs::truth(&value) {
                    self.scope(body, inside)?
                } else {
                    self.scope(other, dot)?
                }
                self.vars.truncate(mark);
            }
            Node::Range(pipeline, body, other) => self.range(pipeline, body, other, dot)?,
            Node::Call(name, pipeline) => {
                let data = match pipeline {
                    Some(pipeline) => self.pipeline(pipeline, dot)?,
                    None => Value::Null,
                };
                self.call(name, &data)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, name: &str, data: &Value) -> Result<(), Wrong> {
        let template = self.template;
        let body =
            template.named.get(name).ok_or_else(|| Wrong::Run(format!("template {name:?} not defined")))?;
        if self.depth >= DEPTH {
            return Err(Wrong::Run("exceeded maximum template depth".to_owned()));
        }
        self.depth += 1;
        let vars = std::mem::replace(&mut self.vars, vec![(String::new(), data.clone())]);
        let result = self.nodes(body, data);
        self.vars = vars;
        self.depth -= 1;
        result
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        other: &[Node],
        dot: &Value,
    ) -> Result<(), Wrong> {
        let value = self.commands(pipeline, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(index, item)| (Value::from(index), item)).collect()
            }
            Value::Object(members) => {
                members.into_iter().map(|(key, item)| (Value::String(key), item)).collect()
            }
            Value::Null => Vec::new(),
            other => return Err(Wrong::Run(format!("range can't iterate over {}", funcs::text(&other)))),
        };
        if items.is_empty() {
            return self.scope(other, dot);
        }
        for (key, item) in items {
            let mark = self.vars.len();
            match pipeline.declare.as_slice() {
                [] => {}
                [one] => self.vars.push((one.clone(), item.clone())),
                [first, second, ..] => {
                    self.vars.push((first.clone(), key));
                    self.vars.push((second.clone(), item.clone()));
                }
            }
            let result = self.nodes(body, &item);
            self.vars.truncate(mark);
            result?;
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Wrong> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.declare {
            if !pipeline.assign {
                self.vars.push((name.clone(), value.clone()));
                continue;
            }
            match self.vars.iter_mut().rev().find(|(own, _)| own == name) {
                Some((_, old)) => *old = value.clone(),
                None => return Err(Wrong::Run(format!("undefined variable \"${name}\""))),
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Wrong> {
        let mut last: Option<Value> = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(&mut self, command: &[Operand], piped: Option<Value>, dot: &Value) -> Result<Value, Wrong> {
        let Some((first, rest)) = command.split_first() else { return Ok(Value::Null) };
        if let Base::Function(name) = &first.base {
            let mut args = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                args.push(self.operand(operand, dot)?);
            }
            args.extend(piped);
            return Ok(fields(funcs::call(name, &args)?, &first.fields));
        }
        if !rest.is_empty() || piped.is_some() {
            return Err(Wrong::Run("can't give argument to non-function".to_owned()));
        }
        self.operand(first, dot)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Wrong> {
        let value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Literal(value) => value.clone(),
            Base::Variable(name) => match self.vars.iter().rev().find(|(own, _)| own == name) {
                Some((_, value)) => value.clone(),
                None => return Err(Wrong::Run(format!("undefined variable \"${name}\""))),
            },
            Base::Function(name) => funcs::call(name, &[])?,
            Base::Inner(pipeline) => self.commands(pipeline, dot)?,
        };
        Ok(fields(value, &operand.fields))
    }
}

fn fields(value: Value, names: &[String]) -> Value {
    names.iter().fold(value, |value, name| funcs::member(&value, name))
}
