//! How answers are shown: as tables for people, as JSON or YAML, or by a template.

mod human;
mod ordered;
mod table;

use serde_json::Value;
use skiff_api::v1beta1::kind::Parsed;
use skiff_api::v1beta1::{API_VERSION, KINDS, List, Object, Status, body, by_kind};

use crate::args::Flags;
use crate::ending::Ending;
use crate::template::Template;
use crate::world::World;

/// Something to show.
pub(crate) enum Shown {
    One(Box<dyn Object>),
    List(List),
    Status(Status),
}

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unprintable {
    /// Of no kind that is known here.
    #[error("unknown type {0:?}")]
    Kind(String),
    /// Not an object of its kind.
    #[error(transparent)]
    Body(#[from] skiff_api::v1beta1::Fault),
    /// The template does not fit the object.
    #[error("{0}")]
    Template(String),
    /// It has no form as YAML.
    #[error("{0}")]
    Yaml(String),
}

impl Shown {
    /// Reads an answer by its own `kind`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unprintable> {
        let tree = body::tree(bytes)?;
        let (kind, _) = body::claims(&tree)?;
        if kind == "Status" {
            return Ok(Self::Status(body::typed(tree)?));
        }
        let row = by_kind(kind).or_else(|| KINDS.iter().copied().find(|row| row.list_kind == kind));
        let Some(row) = row else { return Err(Unprintable::Kind(kind.to_owned())) };
        Ok(match row.parse_any(bytes)? {
            Parsed::One(object) => Self::One(object),
            Parsed::List(list) => Self::List(*list),
        })
    }

    /// As v1beta1 JSON.
    pub(crate) fn json(&self) -> String {
        match self {
            Self::One(object) => {
                let text = object.json();
                // A file may have left these two out.
                let row = object.row();
                match serde_json::from_str::<Value>(&text) {
                    Ok(tree) if tree.get("kind").is_none() => {
                        let head = format!("{{\"kind\":\"{}\",\"apiVersion\":\"{API_VERSION}\",", row.kind);
                        text.replacen('{', &head, 1)
                    }
                    _ => text,
                }
            }
            Self::List(list) => list.json(),
            Self::Status(status) => status.json(),
        }
    }
}

/// One of the four ways.
pub(crate) enum Printer {
    Json,
    Yaml,
    Template(Template),
    Human,
}

impl Printer {
    /// The way the flags ask for: JSON before YAML before templates, a file's template before the flag's.
    pub(crate) async fn of(flags: &Flags, world: &World) -> Result<Self, Ending> {
        if flags.truth("json") {
            return Ok(Self::Json);
        }
        if flags.truth("yaml") {
            return Ok(Self::Yaml);
        }
        let file = flags.text("template_file");
        let text = if file.is_empty() {
            flags.text("template").to_owned()
        } else {
            let read = tokio::fs::read_to_string(world.path(file)).await;
            read.map_err(|error| Ending::fatal(format!("Error reading template {file}: {error}")))?
        };
        if text.is_empty() {
            return Ok(Self::Human);
        }
        let template = Template::parse(&text)
            .map_err(|error| Ending::fatal(format!("Error parsing template {text}: {error}")))?;
        Ok(Self::Template(template))
    }

    /// The text, with its last line feed except for templates, which end as they end.
    pub(crate) fn print(&self, shown: &Shown) -> Result<String, Unprintable> {
        match self {
            Self::Json => Ok(shown.json() + "\n"),
            Self::Yaml => yaml(shown),
            Self::Template(template) => {
                let tree: Value = serde_json::from_str(&shown.json()).unwrap_or_default();
                template.run(&tree).map_err(|error| Unprintable::Template(error.to_string()))
            }
            Self::Human => human::print(shown),
        }
    }
}

/// As YAML with v1beta1's members in their order.
pub(crate) fn yaml(shown: &Shown) -> Result<String, Unprintable> {
    let tree: ordered::Node =
        serde_json::from_str(&shown.json()).map_err(|error| Unprintable::Yaml(error.to_string()))?;
    let mut text = serde_saphyr::to_string(&tree).map_err(|error| Unprintable::Yaml(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
