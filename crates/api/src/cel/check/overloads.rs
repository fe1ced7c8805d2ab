//! Which functions take which types, and what they give: the table `overloads.txt`, read once.
//!
//! Of several overloads that fit, which happens where a type is not known, the result is what all give, else anything:
//! as upstream's checker has it (`cel-go/checker/checker.go`, `resolveOverload`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use crate::cel::types::Type;

/// A type in a signature.
#[derive(Debug)]
enum Shape {
    /// Any type, the same one under the same letter.
    Any(char),
    Is(Type),
    List(Box<Shape>),
    Map(Box<Shape>, Box<Shape>),
    Optional(Box<Shape>),
}

#[derive(Debug)]
struct Overload {
    target: Option<Shape>,
    arguments: Vec<Shape>,
    gives: Arc<Shape>,
}

type Bound = BTreeMap<char, Type>;

static TABLE: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut table: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for line in lines() {
        if let Some((name, overloads)) = read(line) {
            table.entry(name).or_default().extend(overloads);
        }
    }
    table
});

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("overloads.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What a call gives.
pub(super) enum Gives {
    /// A value of this type.
    Value(Type),
    /// It takes no such arguments.
    Nothing,
}

/// The result of calling `name`, on `target` if there is one; anything for functions that the table does not know.
pub(super) fn resolve(name: &str, target: Option<&Type>, arguments: &[Type]) -> Gives {
    let Some(overloads) = TABLE.get(name) else { return Gives::Value(Type::Dyn) };
    let mut found: Option<Type> = None;
    for given in overloads.iter().filter_map(|overload| overload.call(target, arguments)) {
        match &found {
            Some(before) if *before != given => return Gives::Value(Type::Dyn),
            _ => found = Some(given),
        }
    }
    found.map_or(Gives::Nothing, Gives::Value)
}

impl Overload {
    fn call(&self, target: Option<&Type>, arguments: &[Type]) -> Option<Type> {
        let mut bound = Bound::new();
        let on_target = match (&self.target, target) {
            (Some(shape), Some(target)) => shape.admits(target, &mut bound),
            (None, None) => true,
            _ => false,
        };
        let fits = on_target
            && self.arguments.len() == arguments.len()
            && self.arguments.iter().zip(arguments).all(|(shape, given)| shape.admits(given, &mut bound));
        fits.then(|| self.gives.filled(&bound))
    }
}

impl Shape {
    fn admits(&self, given: &Type, bound: &mut Bound) -> bool {
        match (self, given) {
            (Self::Any(letter), _) => match bound.get(letter) {
                Some(before) if !before.fits(given) => false,
                Some(before) => {
                    let general = before.general(given);
                    bound.insert(*letter, general);
                    true
                }
                None => {
                    bound.insert(*letter, given.clone());
                    true
                }
            },
            (Self::Is(own), given) => own.fits(given),
            (Self::List(own), Type::List(given)) | (Self::Optional(own), Type::Optional(given)) => {
                own.admits(given, bound)
            }
            (Self::Map(key, value), Type::Map(given_key, given_value)) => {
                key.admits(given_key, bound) && value.admits(given_value, bound)
            }
            (Self::List(own) | Self::Optional(own), Type::Dyn | Type::Free) => own.admits(&Type::Dyn, bound),
            (Self::Map(key, value), Type::Dyn | Type::Free) => {
                key.admits(&Type::Dyn, bound) && value.admits(&Type::Dyn, bound)
            }
            (Self::Optional(_), Type::Null) => true,
            _ => false,
        }
    }

    fn filled(&self, bound: &Bound) -> Type {
        match self {
            Self::Any(letter) => bound.get(letter).cloned().unwrap_or(Type::Free),
            Self::Is(own) => own.clone(),
            Self::List(own) => Type::list(own.filled(bound)),
            Self::Map(key, value) => Type::Map(Arc::new(key.filled(bound)), Arc::new(value.filled(bound))),
            Self::Optional(own) => Type::Optional(Arc::new(own.filled(bound))),
        }
    }
}

/// A line of the table: `name: (int) string.(int) -> bool`.
fn read(line: &'static str) -> Option<(&'static str, Vec<Overload>)> {
    let (name, rest) = line.split_once(": ")?;
    let (signatures, gives) = rest.split_once(" -> ")?;
    let gives = Arc::new(shape(&mut gives.trim())?);
    let mut rest = signatures.trim();
    let mut overloads = Vec::new();
    while !rest.is_empty() {
        let target = match rest.starts_with('(') {
            true => None,
            false => {
                let target = shape(&mut rest)?;
                rest = rest.strip_prefix('.')?;
                Some(target)
            }
        };
        let arguments = bracketed(&mut rest)?;
        overloads.push(Overload { target, arguments, gives: Arc::clone(&gives) });
        rest = rest.trim_start();
    }
    Some((name, overloads))
}

/// `(a, b)`, taken from the beginning of `text`.
fn bracketed(text: &mut &str) -> Option<Vec<Shape>> {
    *text = text.strip_prefix('(')?;
    let mut shapes = Vec::new();
    loop {
        *text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix(')') {
            *text = rest;
            return Some(shapes);
        }
        shapes.push(shape(text)?);
    }
}

/// A type, taken from the beginning of `text`.
fn shape(text: &mut &str) -> Option<Shape> {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    *text = rest;
    let known = match name {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "type" => Type::Kind,
        "URL" => Type::Opaque("kubernetes.URL"),
        "Quantity" => Type::Opaque("kubernetes.Quantity"),
        "Semver" => Type::Opaque("kubernetes.Semver"),
        "NamedFormat" => Type::Opaque("kubernetes.NamedFormat"),
        "IP" => Type::Opaque("net.IP"),
        "CIDR" => Type::Opaque("net.CIDR"),
        "Authorizer" => Type::authorizer(),
        "PathCheck" => Type::Opaque("kubernetes.authorization.PathCheck"),
        "GroupCheck" => Type::Opaque("kubernetes.authorization.GroupCheck"),
        "ResourceCheck" => Type::resource_check(),
        "Decision" => Type::Opaque("kubernetes.authorization.Decision"),
        "list" | "map" | "optional" => {
            let mut inner = bracketed(text)?.into_iter().map(Box::new);
            return Some(match name {
                "list" => Shape::List(inner.next()?),
                "map" => Shape::Map(inner.next()?, inner.next()?),
                _ => Shape::Optional(inner.next()?),
            });
        }
        _ => {
            let mut letters = name.chars();
            let letter = letters.next().filter(char::is_ascii_uppercase)?;
            return letters.next().is_none().then_some(Shape::Any(letter));
        }
    };
    Some(Shape::Is(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::functions;

    #[test]
    fn every_line_of_the_table_is_read_and_names_a_function() {
        for line in lines() {
            let (name, overloads) = read(line).unwrap_or_else(|| panic!("{line}"));
            assert!(!overloads.is_empty() && functions::known(name), "{line}");
        }
    }
}
