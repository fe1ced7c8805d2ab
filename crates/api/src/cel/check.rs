//! Type checking: what is wrong with an expression as far as the types of its variables tell.
//!
//! Follows upstream's checker (`cel-go/checker`), with its words, for what it finds in the expressions of policies: fields
//! that objects of a kind do not have, operators and functions that do not take such values. Where a type is not known,
//! nothing is wrong. The interpreter needs none of this: a policy that is warned of runs all the same.

use std::sync::Arc;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue, operators as op,
};

use super::types::Type;
use super::{functions, parse};
use overloads::Gives;

mod overloads;

/// How deep expressions may nest here; deeper ones were refused when they were written.
const DEEPEST: usize = 250;

/// The type that `source` gives, its variables having these types.
///
/// # Errors
/// All that is wrong, in the words and form of upstream's compiler (`ERROR: <input>:1:7: ...`).
pub fn check(source: &str, variables: &[(String, Type)]) -> Result<Type, String> {
    let expression = parse::parse(source)?;
    let mut check = Check { scope: variables.to_vec(), faults: Vec::new(), depth: 0 };
    let given = check.expr(&expression);
    if check.faults.is_empty() {
        return Ok(given);
    }
    let places = parse::places(source);
    let place =
        |id: u64| places.as_ref().and_then(|places| places.offset_for(id)).map_or(0, |(start, _)| start);
    let mut faults: Vec<(usize, String)> =
        check.faults.into_iter().map(|(id, words)| (place(id) as usize, words)).collect();
    faults.sort_by_key(|(offset, _)| *offset);
    let told: Vec<String> = faults.iter().map(|(offset, words)| shown(source, *offset, words)).collect();
    Err(told.join("\n"))
}

struct Check {
    /// Variables, the innermost last.
    scope: Vec<(String, Type)>,
    /// At which part, and what.
    faults: Vec<(u64, String)>,
    depth: usize,
}

/// What a loop's variables are.
struct Range {
    /// The first of two: a key of a map, a place in a list.
    key: Type,
    /// The second of two.
    value: Type,
    /// The only one: a key of a map, an item of a list.
    one: Type,
}

impl Check {
    fn expr(&mut self, expression: &IdedExpr) -> Type {
        self.depth += 1;
        let given = if self.depth > DEEPEST { Type::Dyn } else { self.deeper(expression) };
        self.depth -= 1;
        given
    }

    fn deeper(&mut self, expression: &IdedExpr) -> Type {
        let id = expression.id;
        match &expression.expr {
            Expr::Ident(name) => self.variable(id, name),
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::String,
                LiteralValue::UInt(_) => Type::Uint,
            },
            Expr::Select(select) => {
                if let Some(known) = self.qualified(&select.operand, &select.field) {
                    return known;
                }
                let operand = self.expr(&select.operand);
                let field = self.field(id, &operand, &select.field);
                if select.test { Type::Bool } else { field }
            }
            Expr::Call(call) => self.call(id, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(&map.entries),
            Expr::Comprehension(fold) => self.fold(fold),
            _ => Type::Dyn,
        }
    }

    fn variable(&mut self, id: u64, name: &str) -> Type {
        if let Some((_, known)) = self.scope.iter().rev().find(|(own, _)| own == name) {
            return known.clone();
        }
        if functions::TYPES.contains(&name) {
            return Type::Kind;
        }
        self.fault(id, format!("undeclared reference to '{name}' (in container '')"));
        Type::Dyn
    }

    /// `authorizer.requestResource`, which is a variable with a dot.
    fn qualified(&self, operand: &IdedExpr, field: &str) -> Option<Type> {
        let Expr::Ident(name) = &operand.expr else { return None };
        let authorizer = |(own, known): &(String, Type)| own == name && *known == Type::authorizer();
        let found = name == "authorizer" && field == "requestResource" && self.scope.iter().any(authorizer);
        found.then(Type::resource_check)
    }

    /// A field of a value of this type.
    fn field(&mut self, id: u64, of: &Type, name: &str) -> Type {
        match of {
            Type::Dyn | Type::Free => Type::Dyn,
            Type::Map(_, value) => (**value).clone(),
            Type::Optional(inner) => Type::Optional(Arc::new(self.field(id, inner, name))),
            Type::Object(object) => object.fields.get(name).cloned().unwrap_or_else(|| {
                self.fault(id, format!("undefined field '{name}'"));
                Type::Dyn
            }),
            other => {
                self.fault(id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Type {
        let name = call.func_name.as_str();
        if let (op::OPT_SELECT, [operand, field]) = (name, call.args.as_slice()) {
            let Expr::Literal(LiteralValue::String(field)) = &field.expr else { return Type::Dyn };
            let operand = self.expr(operand);
            let found = self.field(id, &operand, field.inner());
            return if matches!(found, Type::Optional(_)) { found } else { Type::Optional(Arc::new(found)) };
        }
        let Some(target) = &call.target else { return self.applied(id, name, None, &call.args) };
        let library = if let Expr::Ident(library) = &target.expr { library.as_str() } else { "" };
        match (library, name, call.args.as_slice()) {
            ("cel", "bind", [variable, value, body]) => {
                let value = self.expr(value);
                self.within(&[(variable, value)], |check| check.expr(body))
            }
            (_, "optMap" | "optFlatMap", [variable, body]) => {
                let target = self.expr(target);
                let value = self.result(id, "value", Some(&target), &[]);
                let body = self.within(&[(variable, value)], |check| check.expr(body));
                if name == "optMap" { Type::Optional(Arc::new(body)) } else { body }
            }
            (
                _,
                "all" | "exists" | "exists_one" | "existsOne" | "transformList" | "transformMap",
                [first, second, rest @ ..],
            ) if matches!(rest.len(), 1 | 2) => self.pairs(id, name, target, (first, second), rest),
            _ if functions::qualified(library, name) => {
                self.applied(id, &format!("{library}.{name}"), None, &call.args)
            }
            _ => {
                let target = self.expr(target);
                self.applied(id, name, Some(&target), &call.args)
            }
        }
    }

    /// What a function gives for these arguments.
    fn applied(&mut self, id: u64, name: &str, target: Option<&Type>, arguments: &[IdedExpr]) -> Type {
        let arguments: Vec<Type> = arguments.iter().map(|argument| self.expr(argument)).collect();
        self.result(id, name, target, &arguments)
    }

    fn result(&mut self, id: u64, name: &str, target: Option<&Type>, arguments: &[Type]) -> Type {
        match overloads::resolve(name, target, arguments) {
            Gives::Value(given) => given,
            Gives::Nothing => {
                let words: Vec<String> = arguments.iter().map(Type::to_string).collect();
                let target = target.map(|target| format!("{target}.")).unwrap_or_default();
                let applied = format!("{target}({})", words.join(", "));
                self.fault(id, format!("found no matching overload for '{name}' applied to '{applied}'"));
                Type::Dyn
            }
        }
    }

    fn list(&mut self, list: &ListExpr) -> Type {
        let mut item = Type::Free;
        for (index, element) in list.elements.iter().enumerate() {
            let mut given = self.expr(element);
            if let (true, Type::Optional(inner)) = (list.optional_indices.contains(&index), &given) {
                given = (**inner).clone();
            }
            item = self.joined(element.id, item, &given);
        }
        Type::list(item)
    }

    fn map(&mut self, entries: &[IdedEntryExpr]) -> Type {
        let (mut keys, mut values) = (Type::Free, Type::Free);
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let key = self.expr(&entry.key);
            keys = self.joined(entry.key.id, keys, &key);
            let mut value = self.expr(&entry.value);
            if let (true, Type::Optional(inner)) = (entry.optional, &value) {
                value = (**inner).clone();
            }
            values = self.joined(entry.value.id, values, &value);
        }
        Type::Map(Arc::new(keys), Arc::new(values))
    }

    /// The type of the items of a literal, which must be alike.
    fn joined(&mut self, id: u64, before: Type, given: &Type) -> Type {
        if before.fits(given) {
            return before.general(given);
        }
        self.mismatch(id, &before, given);
        Type::Dyn
    }

    fn mismatch(&mut self, id: u64, wanted: &Type, found: &Type) {
        self.fault(id, format!("expected type '{wanted}' but found '{found}'"));
    }

    /// What `body` gives with more variables.
    fn within(&mut self, variables: &[(&IdedExpr, Type)], body: impl FnOnce(&mut Self) -> Type) -> Type {
        let outer = self.scope.len();
        for (name, known) in variables {
            if let Expr::Ident(name) = &name.expr {
                self.scope.push((name.clone(), known.clone()));
            }
        }
        let given = body(self);
        self.scope.truncate(outer);
        given
    }

    /// What a loop over `range` goes through.
    fn gone_through(&mut self, range: &IdedExpr) -> Range {
        let list = |item: Type| Range { key: Type::Int, value: item.clone(), one: item };
        match self.expr(range) {
            Type::Dyn | Type::Free => Range { key: Type::Dyn, ..list(Type::Dyn) },
            Type::List(item) => list((*item).clone()),
            Type::Map(key, value) => {
                Range { key: (*key).clone(), value: (*value).clone(), one: (*key).clone() }
            }
            other => {
                let words = "cannot be range of a comprehension (must be list, map, or dynamic)";
                self.fault(range.id, format!("expression of type '{other}' {words}"));
                Range { key: Type::Dyn, ..list(Type::Dyn) }
            }
        }
    }

    /// A loop with two variables.
    fn pairs(
        &mut self,
        id: u64,
        name: &str,
        range: &IdedExpr,
        (first, second): (&IdedExpr, &IdedExpr),
        rest: &[IdedExpr],
    ) -> Type {
        let Range { key, value, .. } = self.gone_through(range);
        let variables = [(first, key.clone()), (second, value)];
        let (filter, body) = if let [filter, body] = rest { (Some(filter), body) } else { (None, &rest[0]) };
        let body = self.within(&variables, |check| {
            if let Some(filter) = filter {
                let filter = check.expr(filter);
                check.result(id, op::CONDITIONAL, None, &[filter, Type::Dyn, Type::Dyn]);
            }
            check.expr(body)
        });
        match name {
            "transformList" => Type::list(body),
            "transformMap" => Type::Map(Arc::new(key), Arc::new(body)),
            "all" => self.result(id, op::LOGICAL_AND, None, &[Type::Bool, body]),
            "exists" => self.result(id, op::LOGICAL_OR, None, &[Type::Bool, body]),
            _ => {
                self.result(id, op::CONDITIONAL, None, &[body, Type::Int, Type::Int]);
                Type::Bool
            }
        }
    }

    /// A loop with one variable, as the parser made it.
    fn fold(&mut self, fold: &ComprehensionExpr) -> Type {
        let item = self.gone_through(&fold.iter_range).one;
        let start = self.expr(&fold.accu_init);
        let outer = self.scope.len();
        self.scope.push((fold.accu_var.clone(), start.clone()));
        self.scope.push((fold.iter_var.clone(), item));
        let condition = self.expr(&fold.loop_cond);
        if !Type::Bool.fits(&condition) {
            self.mismatch(fold.loop_cond.id, &Type::Bool, &condition);
        }
        let step = self.expr(&fold.loop_step);
        self.scope.truncate(outer);
        if !start.fits(&step) {
            self.mismatch(fold.loop_step.id, &start, &step);
        }
        self.scope.push((fold.accu_var.clone(), start.general(&step)));
        let result = self.expr(&fold.result);
        self.scope.truncate(outer);
        result
    }

    fn fault(&mut self, id: u64, words: String) {
        self.faults.push((id, words));
    }
}

/// A fault as upstream's compiler prints it.
fn shown(source: &str, offset: usize, words: &str) -> String {
    let before = source.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let text = source.split('\n').nth(line - 1).unwrap_or_default();
    let dots = ".".repeat(column);
    format!("ERROR: <input>:{line}:{}: {words}\n | {text}\n | {dots}^", column + 1)
}

#[cfg(test)]
mod tests;
