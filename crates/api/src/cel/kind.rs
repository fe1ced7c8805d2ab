//! The kind of value an expression gives, as far as its outermost form tells: upstream refuses a rule that cannot be a
//! truth value. The checker of `check.rs` knows more, where schemas are known; it is asked for warnings only.

use kube_cel::cel::common::ast::{Expr, LiteralValue, operators as op};

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the language's types")]
pub enum Kind {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    List,
    Map,
    Null,
}

impl Kind {
    /// The type's name as upstream's messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Map => "map",
            Self::Null => "null_type",
        }
    }
}

/// Functions that always give a truth value.
const TRUTHS: &[&str] = &[
    op::LOGICAL_AND,
    op::LOGICAL_OR,
    op::LOGICAL_NOT,
    op::EQUALS,
    op::NOT_EQUALS,
    op::LESS,
    op::LESS_EQUALS,
    op::GREATER,
    op::GREATER_EQUALS,
    op::IN,
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "isSorted",
    "isQuantity",
    "isIP",
    "isCIDR",
    "isURL",
    "isSemver",
    "hasValue",
    "bool",
    "containsIP",
    "containsCIDR",
    "allowed",
];
/// Functions that always give a text.
const TEXTS: &[&str] =
    &["string", "lowerAscii", "upperAscii", "trim", "replace", "substring", "join", "format", "charAt"];

/// The kind of `expr`; nothing if that depends on values.
pub(super) fn of(expr: &Expr) -> Option<Kind> {
    match expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Boolean(_) => Kind::Bool,
            LiteralValue::Bytes(_) => Kind::Bytes,
            LiteralValue::Double(_) => Kind::Double,
            LiteralValue::Int(_) => Kind::Int,
            LiteralValue::Null => Kind::Null,
            LiteralValue::String(_) => Kind::String,
            LiteralValue::UInt(_) => Kind::Uint,
        }),
        Expr::List(_) => Some(Kind::List),
        Expr::Call(call) if call.func_name == super::functions::COLLECT => Some(Kind::List),
        Expr::Map(_) | Expr::Struct(_) => Some(Kind::Map),
        Expr::Select(select) if select.test => Some(Kind::Bool),
        Expr::Call(call) => match call.func_name.as_str() {
            op::CONDITIONAL => {
                let (yes, no) = (of(&call.args.get(1)?.expr)?, of(&call.args.get(2)?.expr)?);
                (yes == no).then_some(yes)
            }
            op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO => {
                call.args.iter().find_map(|operand| of(&operand.expr))
            }
            "size" | "indexOf" | "int" => Some(Kind::Int),
            name if TRUTHS.contains(&name) => Some(Kind::Bool),
            name if TEXTS.contains(&name) => Some(Kind::String),
            _ => None,
        },
        Expr::Comprehension(fold) => match &fold.result.expr {
            Expr::Ident(name) if *name == fold.accu_var => of(&fold.accu_init.expr),
            result => of(result),
        },
        _ => None,
    }
}
