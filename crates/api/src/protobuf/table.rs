//! What is known of the API's messages: `fields.txt`, read once.
//!
//! A crate with descriptors would be better than a table. There is none: k8s-pb carries prost types of 1.35, whose names
//! are not the JSON ones, and takes as long to build as half of this program. So the table is made from that crate's
//! source by `fields.py`, and a test compares it with the schemas of all kinds.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The place of a message in the table.
pub(crate) type Index = usize;

/// One field of a message.
pub(crate) struct Field {
    /// 0 for a field whose number is not known.
    pub(crate) number: u32,
    /// Its JSON name; `-` for a message whose fields stand in the one around it.
    pub(crate) name: &'static str,
    pub(crate) repeated: bool,
    /// The values of a map by text.
    pub(crate) map: bool,
    /// Whether a zero, `false` or empty text is as good as nothing.
    pub(crate) zero_is_unset: bool,
    pub(crate) of: Of,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Text,
    Bytes,
    Integer,
    Bool,
    Double,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// Any JSON, in a message of its own.
    Raw,
    /// A list of texts, in a message of its own.
    Strings,
    /// `JSONSchemaPropsOrArray`.
    SchemaOrArray,
    /// `JSONSchemaPropsOrBool`.
    SchemaOrBool,
    /// `JSONSchemaPropsOrStringArray`.
    SchemaOrStrings,
    Message(Index),
}

/// A field as JSON sees it: the messages it lies in within its own, outermost first, 0 for none; then the field.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) within: [u32; 2],
    message: Index,
    field: usize,
}

/// A message.
#[derive(Default)]
pub(crate) struct Message {
    /// As they stand in the table: by number.
    pub(crate) fields: Vec<Field>,
    /// By JSON name, those of embedded messages included.
    places: Vec<(&'static str, Place)>,
}

/// All messages.
pub(crate) struct Table {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, Index>,
    /// `apiextensions.v1.JSONSchemaProps`.
    pub(crate) schema: Index,
}

pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("fields.txt")));

impl Table {
    fn parse(text: &'static str) -> Self {
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let names: Vec<&str> = lines().filter(|line| !line.starts_with(' ')).collect();
        let by_name: HashMap<&str, Index> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let mut messages: Vec<Message> = names.iter().map(|_| Message::default()).collect();
        let mut current = 0;
        for line in lines() {
            match line.strip_prefix(' ') {
                None => current = by_name[line],
                Some(field) => messages[current].fields.extend(field_of(field, &by_name)),
            }
        }
        let mut table = Self { schema: by_name["apiextensions.v1.JSONSchemaProps"], messages, by_name };
        for index in 0..table.messages.len() {
            let mut places = Vec::new();
            table.collect(index, [0, 0], &mut places);
            places.sort_by_key(|(name, _)| *name);
            table.messages[index].places = places;
        }
        table
    }

    fn collect(&self, message: Index, within: [u32; 2], places: &mut Vec<(&'static str, Place)>) {
        for (at, field) in self.messages[message].fields.iter().enumerate() {
            match field.of {
                Of::Message(inner) if field.name == "-" => {
                    let within = if within[0] == 0 { [field.number, 0] } else { [within[0], field.number] };
                    self.collect(inner, within, places);
                }
                _ => places.push((field.name, Place { within, message, field: at })),
            }
        }
    }

    /// A message of the table.
    pub(crate) fn message(&self, index: Index) -> &Message {
        &self.messages[index]
    }

    /// The message of this name, such as `core.v1.Pod`.
    pub(crate) fn named(&self, name: &str) -> Option<Index> {
        self.by_name.get(name).copied()
    }

    /// The message of a kind.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<Index> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("core", api_version));
        let group = group.split('.').next().unwrap_or_default();
        // Options come in every group's version and are the same in all; so are the answers that are no objects.
        let named = match (group, version, kind) {
            _ if COMMON.contains(&kind) => format!("meta.v1.{kind}"),
            // The same in both versions; clients from before 1.22 send the old one.
            ("policy", "v1beta1", "Eviction") => "policy.v1.Eviction".to_owned(),
            // The one group whose package has not its first word's name.
            ("internal", ..) => format!("apiserverinternal.{version}.{kind}"),
            _ => format!("{group}.{version}.{kind}"),
        };
        self.named(&named)
    }

    /// The field of a message that JSON calls `name`, and where it lies.
    pub(crate) fn field(&self, message: Index, name: &str) -> Option<(Place, &Field)> {
        let places = &self.messages[message].places;
        let at = places.binary_search_by_key(&name, |(own, _)| own).ok()?;
        let (_, place) = places[at];
        Some((place, &self.messages[place.message].fields[place.field]))
    }
}

/// Kinds of `meta.v1` that name another group and version, or `v1`.
const COMMON: [&str; 11] = [
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "APIVersions",
    "CreateOptions",
    "DeleteOptions",
    "ListOptions",
    "PatchOptions",
    "Status",
    "UpdateOptions",
    "WatchEvent",
];

fn field_of(text: &'static str, by_name: &HashMap<&str, Index>) -> Option<Field> {
    let mut words = text.split(' ');
    let (number, name, kind) = (words.next()?, words.next()?, words.next()?);
    let (repeated, map) = (kind.starts_with('*'), kind.starts_with('%'));
    let (zero_is_unset, of) = match kind.trim_start_matches(['*', '%']) {
        "s" => (true, Of::Text),
        "s1" => (false, Of::Text),
        "b" => (true, Of::Bytes),
        "i" => (false, Of::Integer),
        "i0" => (true, Of::Integer),
        "B" => (false, Of::Bool),
        "B0" => (true, Of::Bool),
        "d" => (false, Of::Double),
        "@time" => (false, Of::Time),
        "@micro" => (false, Of::MicroTime),
        "@quantity" => (true, Of::Quantity),
        "@intstr" => (false, Of::IntOrString),
        "@raw" => (false, Of::Raw),
        "@strings" => (false, Of::Strings),
        "@orarray" => (false, Of::SchemaOrArray),
        "@orbool" => (false, Of::SchemaOrBool),
        "@orstrings" => (false, Of::SchemaOrStrings),
        message => (false, Of::Message(*by_name.get(message)?)),
    };
    Some(Field { number: number.parse().unwrap_or(0), name, repeated, map, zero_is_unset, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let lines = include_str!("fields.txt").lines().filter(|line| line.starts_with(' ')).count();
        let fields: usize = TABLE.messages.iter().map(|message| message.fields.len()).sum();
        assert_eq!(lines, fields);
    }

    #[test]
    fn kinds_find_their_messages() {
        for (version, kind, expected) in [
            ("v1", "Pod", "core.v1.Pod"),
            ("apps/v1", "DeploymentList", "apps.v1.DeploymentList"),
            ("rbac.authorization.k8s.io/v1", "Role", "rbac.v1.Role"),
            ("apps/v1", "DeleteOptions", "meta.v1.DeleteOptions"),
            ("v1", "Status", "meta.v1.Status"),
            ("policy/v1beta1", "Eviction", "policy.v1.Eviction"),
            (
                "internal.apiserver.k8s.io/v1alpha1",
                "StorageVersion",
                "apiserverinternal.v1alpha1.StorageVersion",
            ),
            ("meta.k8s.io/v1", "PartialObjectMetadata", "meta.v1.PartialObjectMetadata"),
        ] {
            assert_eq!(TABLE.kind(version, kind), TABLE.named(expected), "{version} {kind}");
            assert!(TABLE.named(expected).is_some(), "{expected}");
        }
        assert_eq!(TABLE.kind("example.com/v1", "Thing"), None);
    }
}
