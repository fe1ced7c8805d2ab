//! What is wrong with an object, field by field; all faults at once, in upstream's words.
//!
//! Validation code walks an object with an [`Errors`] in hand: [`Errors::at`] and [`Errors::item`] descend, the other
//! methods record. Texts follow upstream's `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt;

/// What kind of fault it is; decides the cause's `reason` and the head of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A value that must be given is missing.
    Required,
    /// A value is malformed or out of range.
    Invalid,
    /// A value is none of the allowed ones.
    NotSupported,
    /// A value that must be unique is there twice.
    Duplicate,
    /// A value is not allowed here.
    Forbidden,
    /// A value is longer than allowed.
    TooLong,
    /// There are more items than allowed.
    TooMany,
    /// A value refers to something that is not there.
    NotFound,
    /// A value has the wrong type.
    TypeInvalid,
    /// Validation itself failed.
    Internal,
}

impl Fault {
    /// The cause's `reason` in a Status.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn head(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }
}

/// One fault of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// `spec.containers[0].image`.
    pub path: String,
    /// What kind of fault.
    pub fault: Fault,
    /// The offending value as it is shown (strings quoted, others as JSON); empty where none is shown.
    pub value: String,
    /// What is wrong and what would be right; may be empty.
    pub detail: String,
}

impl FieldError {
    /// The message without the path, as it stands in a Status cause.
    pub fn message(&self) -> String {
        let mut text = self.fault.head().to_owned();
        if !self.value.is_empty() {
            text.push_str(": ");
            text.push_str(&self.value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}

/// A value as error messages show it.
pub trait Shown {
    /// Strings quoted, everything else as Go's `%v` or JSON would print it.
    fn shown(&self) -> String;
}

impl Shown for str {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}
impl Shown for String {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}
impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(|| "null".to_owned(), Shown::shown)
    }
}
impl Shown for serde_json::Value {
    fn shown(&self) -> String {
        self.to_string()
    }
}
macro_rules! shown_plainly {
    ($($t:ty),*) => { $(impl Shown for $t { fn shown(&self) -> String { self.to_string() } })* };
}
shown_plainly!(i32, i64, u16, u32, u64, usize, bool, f64);

/// The faults found so far and the place the walk has come to.
#[derive(Debug, Default)]
pub struct Errors {
    path: String,
    list: Vec<FieldError>,
}

impl Errors {
    /// An empty list, at the object's root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Descends into a field (`spec`, or several at once: `spec.template`) for the length of `walk`.
    pub fn at<R>(&mut self, field: &str, walk: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(field);
        let result = walk(self);
        self.path.truncate(before);
        result
    }

    /// Descends into item `index` of the list field `field`.
    pub fn item<R>(&mut self, field: &str, index: usize, walk: impl FnOnce(&mut Self) -> R) -> R {
        self.at(&format!("{field}[{index}]"), walk)
    }

    /// Descends into the entry `key` of the map field `field`: `field[key]`.
    pub fn entry<R>(&mut self, field: &str, key: &str, walk: impl FnOnce(&mut Self) -> R) -> R {
        self.at(&format!("{field}[{key}]"), walk)
    }

    /// Descends into item `index` of the present place, which is a list.
    pub fn index<R>(&mut self, index: usize, walk: impl FnOnce(&mut Self) -> R) -> R {
        self.below_as(&format!("[{index}]"), walk)
    }

    /// Descends into the entry `key` of the present place, which is a map.
    pub fn key<R>(&mut self, key: &str, walk: impl FnOnce(&mut Self) -> R) -> R {
        self.below_as(&format!("[{key}]"), walk)
    }

    fn below_as<R>(&mut self, suffix: &str, walk: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.path.len();
        self.path.push_str(suffix);
        let result = walk(self);
        self.path.truncate(before);
        result
    }

    /// The path of `field` below the present place; the place itself if `field` is empty.
    pub fn path(&self, field: &str) -> String {
        match (self.path.is_empty(), field.is_empty()) {
            (true, _) => field.to_owned(),
            (_, true) => self.path.clone(),
            _ => format!("{}.{field}", self.path),
        }
    }

    /// An empty list, at `path`: for what may be discarded.
    pub fn below(path: &str) -> Self {
        Self { path: path.to_owned(), list: Vec::new() }
    }

    /// Takes over what another walk found.
    pub fn append(&mut self, mut other: Self) {
        self.list.append(&mut other.list);
    }

    /// Records a fault of another place than the present one.
    pub fn push_at(&mut self, path: &str, fault: Fault, value: &str, detail: impl Into<String>) {
        let (value, detail) = (value.to_owned(), detail.into());
        self.list.push(FieldError { path: path.to_owned(), fault, value, detail });
    }

    /// Records a fault; the other recording methods come down to this one. An empty `field` means the present place.
    pub fn push(&mut self, fault: Fault, field: &str, value: String, detail: impl Into<String>) {
        let path = self.path(field);
        self.list.push(FieldError { path, fault, value, detail: detail.into() });
    }

    /// `field: Required value[: detail]`
    pub fn required(&mut self, field: &str, detail: impl Into<String>) {
        self.push(Fault::Required, field, String::new(), detail);
    }

    /// `field: Invalid value: VALUE: detail`
    pub fn invalid(&mut self, field: &str, value: &(impl Shown + ?Sized), detail: impl Into<String>) {
        self.push(Fault::Invalid, field, value.shown(), detail);
    }

    /// `field: Unsupported value: VALUE: supported values: "A", "B"`
    pub fn not_supported(&mut self, field: &str, value: &(impl Shown + ?Sized), supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail =
            if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
        self.push(Fault::NotSupported, field, value.shown(), detail);
    }

    /// `field: Duplicate value: VALUE`
    pub fn duplicate(&mut self, field: &str, value: &(impl Shown + ?Sized)) {
        self.push(Fault::Duplicate, field, value.shown(), "");
    }

    /// `field: Forbidden: detail`
    pub fn forbidden(&mut self, field: &str, detail: impl Into<String>) {
        self.push(Fault::Forbidden, field, String::new(), detail);
    }

    /// `field: Not found: VALUE`
    pub fn not_found(&mut self, field: &str, value: &(impl Shown + ?Sized)) {
        self.push(Fault::NotFound, field, value.shown(), "");
    }

    /// `field: Too long: may not be more than MAX bytes`
    pub fn too_long(&mut self, field: &str, max: usize) {
        self.push(Fault::TooLong, field, String::new(), format!("may not be more than {max} bytes"));
    }

    /// `field: Too many: COUNT: must have at most MAX items`
    pub fn too_many(&mut self, field: &str, count: usize, max: usize) {
        self.push(Fault::TooMany, field, count.to_string(), format!("must have at most {max} items"));
    }

    /// `field: Invalid value: VALUE: field is immutable`, if `old` and `new` differ.
    pub fn immutable<T: PartialEq + serde::Serialize>(&mut self, field: &str, new: &T, old: &T) {
        if new != old {
            let value = serde_json::to_value(new).unwrap_or_default();
            self.push(Fault::Invalid, field, value.to_string(), "field is immutable");
        }
    }

    /// True while nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many faults were found so far.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// What was found so far, in order.
    pub fn list(&self) -> &[FieldError] {
        &self.list
    }

    /// What was found, in order.
    pub fn into_list(self) -> Vec<FieldError> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_messages_read_as_upstreams() {
        let mut errors = Errors::new();
        errors.at("spec", |e| {
            e.item("containers", 0, |e| e.required("image", ""));
            e.not_supported("restartPolicy", "Often", &["Always", "Never"]);
            e.too_long("name", 63);
        });
        let shown: Vec<String> = errors.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "spec.containers[0].image: Required value",
                r#"spec.restartPolicy: Unsupported value: "Often": supported values: "Always", "Never""#,
                "spec.name: Too long: may not be more than 63 bytes",
            ]
        );
    }
}
