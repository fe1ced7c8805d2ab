//! Between parsing and use: names are checked, and what the interpreter lacks or does otherwise is said in its terms.
//!
//! - `a.b` becomes an index, since the interpreter's selection gives `false` for what is not a map, and copies.
//! - `a.?b` becomes an optional index, since the interpreter's optional selection fails on a missing key.
//! - `variables.x` becomes one name, so that a composed variable is computed only where it is used.
//! - `cel.bind`, `optMap`, `optFlatMap`, loops with two variables and `Object{...}` become what they stand for.
//! - Each step of a loop pays its cost.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, MapEntryExpr, MapExpr, operators as op,
};

use super::Env;
use super::functions::{self, COLLECT, ENTRIES, PUT, TICK};

/// How deep an expression may nest: the interpreter recurses.
const DEEPEST: usize = 250;

/// An expression fit for the interpreter.
pub(super) struct Walked {
    pub(super) expression: IdedExpr,
    pub(super) references: Vec<String>,
    /// Steps without those of loops.
    pub(super) cost: u64,
}

/// Checks and rewrites.
///
/// # Errors
/// All names that nobody declared, one a line group, as upstream's compiler prints them.
pub(super) fn walk(expression: IdedExpr, source: &str, env: &Env<'_>) -> Result<Walked, String> {
    let mut walk = Walk {
        source,
        env,
        bound: Vec::new(),
        references: Vec::new(),
        faults: Vec::new(),
        cost: 0,
        depth: 0,
        made: 0,
    };
    let expression = walk.expr(expression);
    if !walk.faults.is_empty() {
        walk.faults.dedup();
        return Err(walk.faults.join("\n"));
    }
    walk.references.sort();
    walk.references.dedup();
    Ok(Walked { expression, references: walk.references, cost: walk.cost })
}

struct Walk<'a> {
    source: &'a str,
    env: &'a Env<'a>,
    /// Variables of loops: their name, and what stands for them.
    bound: Vec<(String, Expr)>,
    references: Vec<String>,
    faults: Vec<String>,
    cost: u64,
    depth: usize,
    /// Names made so far.
    made: usize,
}

impl Walk<'_> {
    fn expr(&mut self, expression: IdedExpr) -> IdedExpr {
        self.depth += 1;
        self.cost += 1;
        if self.depth > DEEPEST {
            self.faults =
                vec![format!("ERROR: <input>:-1:0: expression recursion limit exceeded: {DEEPEST}")];
            self.depth -= 1;
            return IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) };
        }
        let IdedExpr { id, expr } = expression;
        let expr = match expr {
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => {
                if let Some(name) = self.composed(&select.operand.expr, &select.field, select.test) {
                    name
                } else if select.test {
                    let operand = Box::new(self.expr(*select.operand));
                    Expr::Select(kube_cel::cel::common::ast::SelectExpr { operand, ..select })
                } else {
                    let operand = self.expr(*select.operand);
                    call(op::INDEX, vec![operand, text(&select.field)])
                }
            }
            Expr::Call(call) => self.call(call),
            Expr::List(mut list) => {
                list.elements = list.elements.into_iter().map(|item| self.expr(item)).collect();
                Expr::List(list)
            }
            Expr::Map(map) => Expr::Map(MapExpr { entries: self.entries(map.entries) }),
            Expr::Struct(object) => {
                let name = object.type_name.trim_start_matches('.');
                let fits = name == "JSONPatch" || name == "Object" || name.starts_with("Object.");
                if !(self.env.objects && fits) {
                    self.undeclared(name);
                }
                Expr::Map(MapExpr { entries: self.entries(object.entries) })
            }
            Expr::Comprehension(fold) => self.fold(*fold),
            other => other,
        };
        self.depth -= 1;
        IdedExpr { id, expr }
    }

    fn entries(
        &mut self,
        entries: Vec<kube_cel::cel::common::ast::IdedEntryExpr>,
    ) -> Vec<kube_cel::cel::common::ast::IdedEntryExpr> {
        let mut walked = Vec::with_capacity(entries.len());
        for mut entry in entries {
            entry.expr = EntryExpr::MapEntry(match entry.expr {
                EntryExpr::MapEntry(own) => {
                    MapEntryExpr { key: self.expr(own.key), value: self.expr(own.value), ..own }
                }
                EntryExpr::StructField(field) => MapEntryExpr {
                    key: text(&field.field),
                    value: self.expr(field.value),
                    optional: field.optional,
                },
            });
            walked.push(entry);
        }
        walked
    }

    fn ident(&mut self, name: String) -> Expr {
        if let Some((_, stands)) = self.bound.iter().rev().find(|(own, _)| *own == name) {
            return stands.clone();
        }
        if functions::TYPES.contains(&name.as_str()) {
            return Expr::Ident(name);
        }
        let authorizer =
            self.env.authorizer && (name == "authorizer" || name == super::authorizer::FOR_RESOURCE);
        if !authorizer && !self.env.variables.contains(&name.as_str()) {
            self.undeclared(&name);
        }
        self.references.push(name.clone());
        Expr::Ident(name)
    }

    /// A field of a variable that is declared field by field.
    fn composed(&mut self, operand: &Expr, field: &str, test: bool) -> Option<Expr> {
        let Expr::Ident(variable) = operand else { return None };
        if self.bound.iter().any(|(own, _)| own == variable)
            || self.env.variables.contains(&variable.as_str())
        {
            return None;
        }
        if self.env.authorizer && variable == "authorizer" {
            let name = format!("authorizer.{field}");
            if name == super::authorizer::FOR_RESOURCE {
                return Some(self.ident(name));
            }
        }
        let prefix = format!("{variable}.");
        if !self.env.variables.iter().any(|name| name.starts_with(&prefix)) && variable != "variables" {
            return None;
        }
        let name = format!("{prefix}{field}");
        if !self.env.variables.contains(&name.as_str()) {
            self.fault(field, 0, &format!("undefined field '{field}'"));
        }
        if test {
            return Some(Expr::Literal(LiteralValue::Boolean(true.into())));
        }
        self.references.push(name.clone());
        Some(Expr::Ident(name))
    }

    fn call(&mut self, call: CallExpr) -> Expr {
        let CallExpr { func_name: name, target, mut args } = call;
        if name == op::OPT_SELECT && args.len() == 2 {
            let (field, operand) = (args.remove(1), args.remove(0));
            if let (Expr::Ident(variable), Expr::Literal(LiteralValue::String(key))) =
                (&operand.expr, &field.expr)
                && variable == "variables"
                && let Some(composed) = self.composed(&operand.expr, key.inner(), false)
            {
                let value = ided(composed);
                return optional("of", vec![value]).expr;
            }
            let operand = self.expr(operand);
            return self::call(op::OPT_INDEX, vec![operand, field]);
        }
        if let Some(target) = target {
            return self.method(name, *target, args);
        }
        if (name == op::EQUALS || name == op::NOT_EQUALS)
            && let Some(none) = args.iter().position(|side| is_none(&side.expr))
        {
            // The interpreter finds no two optionals equal.
            let other = self.expr(args.remove(1 - none));
            let asked = CallExpr {
                func_name: "hasValue".to_owned(),
                target: Some(Box::new(other)),
                args: Vec::new(),
            };
            let has = Expr::Call(asked);
            return if name == op::EQUALS { self::call(op::LOGICAL_NOT, vec![ided(has)]) } else { has };
        }
        if !functions::known(&name) {
            self.fault(&name, name.len(), &format!("undeclared reference to '{name}' (in container '')"));
        }
        let args = args.into_iter().map(|argument| self.expr(argument)).collect();
        Expr::Call(CallExpr { func_name: name, target: None, args })
    }

    fn method(&mut self, name: String, target: IdedExpr, mut args: Vec<IdedExpr>) -> Expr {
        let library = if let Expr::Ident(library) = &target.expr { library.as_str() } else { "" };
        match (library, name.as_str(), args.len()) {
            ("cel", "bind", 3) => {
                let (body, value, variable) = (args.remove(2), args.remove(1), args.remove(0));
                let Expr::Ident(variable) = variable.expr else {
                    self.fault("bind", 0, "cel.bind() variable names must be simple identifiers");
                    return variable.expr;
                };
                let value = self.expr(value);
                self.bind(&variable, value, body).expr
            }
            (_, "optMap" | "optFlatMap", 2) => self.opt_map(&name, target, args),
            (_, "all" | "exists" | "exists_one" | "existsOne" | "transformList" | "transformMap", 3)
            | (_, "transformList" | "transformMap", 4) => self.pairs(&name, target, args),
            (library, ..) => {
                let target = if functions::qualified(library, &name) {
                    target
                } else {
                    if !functions::known(&name) {
                        self.fault(
                            &name,
                            name.len(),
                            &format!("undeclared reference to '{name}' (in container '')"),
                        );
                    }
                    self.expr(target)
                };
                let args = args.into_iter().map(|argument| self.expr(argument)).collect();
                Expr::Call(CallExpr { func_name: name, target: Some(Box::new(target)), args })
            }
        }
    }

    /// `body` with `variable` standing for `value`.
    fn bind(&mut self, variable: &str, value: IdedExpr, body: IdedExpr) -> IdedExpr {
        self.bound.push((variable.to_owned(), Expr::Ident(variable.to_owned())));
        let result = self.expr(body);
        self.bound.pop();
        ided(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: ided(Expr::List(Default::default())),
            iter_var: "#unused".to_owned(),
            iter_var2: None,
            accu_var: variable.to_owned(),
            accu_init: value,
            loop_cond: truth(false),
            loop_step: ided(Expr::Ident(variable.to_owned())),
            result,
        })))
    }

    /// `target.optMap(x, body)`: nothing stays nothing.
    fn opt_map(&mut self, name: &str, target: IdedExpr, mut args: Vec<IdedExpr>) -> Expr {
        let (body, variable) = (args.remove(1), args.remove(0));
        let Expr::Ident(variable) = variable.expr else {
            self.fault(name, 0, &format!("{name}() variable name must be a simple identifier"));
            return variable.expr;
        };
        // Computed twice rather than bound: the interpreter's copy of an optional forgets that it is one.
        let target = self.expr(target);
        let on_target = |func_name: &str| {
            let target = Some(Box::new(target.clone()));
            ided(Expr::Call(CallExpr { func_name: func_name.to_owned(), target, args: Vec::new() }))
        };
        let body = self.bind(&variable, on_target("value"), body);
        let some = if name == "optMap" { optional("of", vec![body]) } else { body };
        call(op::CONDITIONAL, vec![on_target("hasValue"), some, optional("none", Vec::new())])
    }

    /// A loop with two variables: one over entries, of which the variables are fields.
    fn pairs(&mut self, name: &str, target: IdedExpr, mut args: Vec<IdedExpr>) -> Expr {
        let filter = (args.len() == 4).then(|| args.remove(2));
        let (body, second, first) = (args.remove(2), args.remove(1), args.remove(0));
        let (Expr::Ident(first), Expr::Ident(second)) = (first.expr, second.expr) else {
            self.fault(name, 0, "argument must be a simple name");
            return Expr::Literal(LiteralValue::Null);
        };
        let range = self.expr(target);
        let (entry, result) = (self.fresh(), "@result".to_owned());
        let field = |key: &str| call(op::INDEX, vec![ided(Expr::Ident(entry.clone())), text(key)]);
        self.bound.push((first, field("k")));
        self.bound.push((second, field("v")));
        let before = self.cost;
        let body = self.expr(body);
        let filter = filter.map(|filter| self.expr(filter));
        let paid = self.cost - before + 4;
        self.bound.truncate(self.bound.len() - 2);
        let accu = || ided(Expr::Ident(result.clone()));
        let one = |number: i64| ided(Expr::Literal(LiteralValue::Int(number.into())));
        let (init, condition, mut step, end) = match name {
            "all" => (
                truth(true),
                ided(call(op::NOT_STRICTLY_FALSE, vec![accu()])),
                call(op::LOGICAL_AND, vec![accu(), body]),
                accu(),
            ),
            "exists" => (
                truth(false),
                ided(call(op::NOT_STRICTLY_FALSE, vec![ided(call(op::LOGICAL_NOT, vec![accu()]))])),
                call(op::LOGICAL_OR, vec![accu(), body]),
                accu(),
            ),
            "transformList" => return collect(ided(call(ENTRIES, vec![range])), &entry, paid, body, filter),
            "transformMap" => {
                let step = call(PUT, vec![accu(), ided(field("k")), body]);
                (ided(Expr::Map(MapExpr::default())), truth(true), step, accu())
            }
            _ => {
                let more = ided(call(op::ADD, vec![accu(), one(1)]));
                let step = call(op::CONDITIONAL, vec![body, more, accu()]);
                (one(0), truth(true), step, ided(call(op::EQUALS, vec![accu(), one(1)])))
            }
        };
        if let Some(filter) = filter {
            step = call(op::CONDITIONAL, vec![filter, ided(step), accu()]);
        }
        Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: ided(call(ENTRIES, vec![range])),
            iter_var: entry,
            iter_var2: None,
            accu_var: result,
            accu_init: init,
            loop_cond: paying(condition, paid),
            loop_step: ided(step),
            result: end,
        }))
    }

    /// A loop with one variable, as the parser made it.
    fn fold(&mut self, mut fold: ComprehensionExpr) -> Expr {
        fold.iter_range = self.expr(fold.iter_range);
        fold.accu_init = self.expr(fold.accu_init);
        let before = self.cost;
        if let Some((body, condition)) = collected(&fold) {
            self.bound.push((fold.iter_var.clone(), Expr::Ident(fold.iter_var.clone())));
            let body = self.expr(body);
            let condition = condition.map(|condition| self.expr(condition));
            self.bound.pop();
            return collect(fold.iter_range, &fold.iter_var, self.cost - before + 2, body, condition);
        }
        self.bound.push((fold.accu_var.clone(), Expr::Ident(fold.accu_var.clone())));
        self.bound.push((fold.iter_var.clone(), Expr::Ident(fold.iter_var.clone())));
        let condition = self.expr(fold.loop_cond);
        fold.loop_step = self.expr(fold.loop_step);
        fold.loop_cond = paying(condition, self.cost - before);
        self.bound.pop();
        fold.result = self.expr(fold.result);
        self.bound.pop();
        Expr::Comprehension(Box::new(fold))
    }

    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("@own{}", self.made)
    }

    fn undeclared(&mut self, name: &str) {
        self.fault(name, 0, &format!("undeclared reference to '{name}' (in container '')"));
    }

    /// Records a fault at the first place where `word` stands, moved by `offset`. The parser keeps no positions.
    fn fault(&mut self, word: &str, offset: usize, message: &str) {
        let (line, column, text) = position(self.source, word);
        let column = column + offset;
        let dots = ".".repeat(column);
        self.faults.push(format!("ERROR: <input>:{line}:{}: {message}\n | {text}\n | {dots}^", column + 1));
    }
}

/// The line (from 1), the column (from 0) and the line's text where `word` stands by itself.
fn position<'a>(source: &'a str, word: &str) -> (usize, usize, &'a str) {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_';
    for (index, line) in source.lines().enumerate() {
        let alone = |(at, _): &(usize, &str)| {
            let after = &line[at + word.len()..];
            !line[..*at].ends_with(part) && !after.starts_with(part)
        };
        if let Some((at, _)) = line.match_indices(word).find(alone) {
            return (index + 1, line[..at].chars().count(), line);
        }
    }
    (1, 0, source.lines().next().unwrap_or_default())
}

fn ided(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn text(text: &str) -> IdedExpr {
    ided(Expr::Literal(LiteralValue::String(text.into())))
}

fn truth(truth: bool) -> IdedExpr {
    ided(Expr::Literal(LiteralValue::Boolean(truth.into())))
}

fn call(name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}

/// The item and the condition of a loop that makes a list (`map`, `filter`).
fn collected(fold: &ComprehensionExpr) -> Option<(IdedExpr, Option<IdedExpr>)> {
    let Expr::List(empty) = &fold.accu_init.expr else { return None };
    let Expr::Call(step) = &fold.loop_step.expr else { return None };
    let (append, condition) = match step.func_name.as_str() {
        op::CONDITIONAL => (&step.args.get(1)?.expr, step.args.first()),
        _ => (&fold.loop_step.expr, None),
    };
    let Expr::Call(append) = append else { return None };
    let Expr::List(items) = &append.args.get(1)?.expr else { return None };
    let fits = empty.elements.is_empty() && append.func_name == op::ADD && items.elements.len() == 1;
    fits.then(|| (items.elements[0].clone(), condition.cloned()))
}

/// A loop that makes a list.
fn collect(range: IdedExpr, variable: &str, cost: u64, body: IdedExpr, condition: Option<IdedExpr>) -> Expr {
    let cost = ided(Expr::Literal(LiteralValue::Int(i64::try_from(cost).unwrap_or(i64::MAX).into())));
    let mut args = vec![range, text(variable), cost, body];
    args.extend(condition);
    call(COLLECT, args)
}

/// A call of one of the functions of optionals.
fn optional(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let target = Some(Box::new(ided(Expr::Ident("optional".to_owned()))));
    ided(Expr::Call(CallExpr { func_name: name.to_owned(), target, args }))
}

/// True for `optional.none()`.
fn is_none(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(CallExpr { func_name, target: Some(target), .. })
        if func_name == "none" && matches!(&target.expr, Expr::Ident(name) if name == "optional"))
}

/// A loop's condition that pays for a step first.
fn paying(condition: IdedExpr, cost: u64) -> IdedExpr {
    let cost = ided(Expr::Literal(LiteralValue::Int(i64::try_from(cost).unwrap_or(i64::MAX).into())));
    ided(call(op::CONDITIONAL, vec![ided(call(TICK, vec![cost])), condition, truth(false)]))
}
