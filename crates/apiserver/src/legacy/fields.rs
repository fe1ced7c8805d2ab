//! Which fields of 2014 objects can be selected by, and what v1 calls them.
//!
//! A field v1 cannot select by is left over for the door to look at in the converted objects.

use skiff_api::v1beta1::{Event, Object, Row};

use super::selector::{BadSelector, Term, parse};

/// What a list or watch is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// v1's `labelSelector`.
    pub(super) labels: String,
    /// v1's `fieldSelector`.
    pub(super) fields: String,
    /// What only the door can decide.
    left: Vec<(Local, Term)>,
}

/// Where the door finds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    /// What is wanted of every pod: to run.
    DesiredStatus,
    /// How an event's object is.
    EventStatus,
}

/// Why a selector cannot be used; the text is the answer's message.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadFilter {
    /// It is not one.
    #[error(transparent)]
    Grammar(#[from] BadSelector),
    /// The kind has no such field.
    #[error("field '{0}' is not supported as a selector of {1}")]
    Field(String, &'static str),
}

enum Place {
    V1(&'static str),
    Local(Local),
    Ignored,
}

fn place(row: &Row, key: &str) -> Option<Place> {
    if row.segment == "minions" {
        return Some(Place::Ignored);
    }
    let place = match key {
        "ID" | "id" | "name" => Place::V1("metadata.name"),
        "DesiredState.Host" | "desiredState.host" | "Status.Host" if row.segment == "pods" => {
            Place::V1("spec.nodeName")
        }
        "Status.Phase" if row.segment == "pods" => Place::V1("status.phase"),
        "DesiredState.Status" | "desiredState.status" if row.segment == "pods" => {
            Place::Local(Local::DesiredStatus)
        }
        _ if row.segment == "events" => event_place(key)?,
        _ => return None,
    };
    Some(place)
}

fn event_place(key: &str) -> Option<Place> {
    const KNOWN: &[&str] = &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "source",
    ];
    if key == "status" {
        return Some(Place::Local(Local::EventStatus));
    }
    KNOWN.iter().find(|known| **known == key).map(|known| Place::V1(known))
}

impl Filter {
    /// Reads the two selectors of a request.
    ///
    /// # Errors
    /// [`BadFilter`] for what cannot be parsed and for fields the kind does not have.
    pub(super) fn parse(row: &'static Row, labels: &str, fields: &str) -> Result<Self, BadFilter> {
        let join = |terms: Vec<String>| terms.join(",");
        let labels = join(parse(labels)?.iter().map(|term| term.to_v1(&term.key)).collect());
        let mut v1 = Vec::new();
        let mut left = Vec::new();
        for term in parse(fields)? {
            match place(row, &term.key) {
                Some(Place::V1(key)) => v1.push(term.to_v1(key)),
                Some(Place::Local(local)) => left.push((local, term)),
                Some(Place::Ignored) => {}
                None => return Err(BadFilter::Field(term.key, row.segment)),
            }
        }
        Ok(Self { labels, fields: join(v1), left })
    }

    /// As for a list, except that a selector that does not parse means everything.
    pub(super) fn lenient(row: &'static Row, labels: &str, fields: &str) -> Self {
        let labels = Self::parse(row, labels, "").unwrap_or_default();
        let fields = Self::parse(row, "", fields).unwrap_or_default();
        Self { labels: labels.labels, ..fields }
    }

    /// What was left for the door to decide.
    pub(super) fn accepts(&self, object: &dyn Object) -> bool {
        self.left.iter().all(|(local, term)| {
            let event = object.as_any().downcast_ref::<Event>();
            term.accepts(match local {
                Local::DesiredStatus => "Running",
                Local::EventStatus => event.map_or("", |event| event.status.as_str()),
            })
        })
    }

    /// The query of the v1 request, after `start` (`watch=true` and the like).
    pub(super) fn query(&self, start: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(start.iter().filter(|(_, value)| !value.is_empty()));
        for (name, value) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_api::v1beta1::by_segment;

    fn v1(segment: &str, fields: &str) -> Result<String, String> {
        Filter::parse(by_segment(segment).unwrap(), "", fields).map(|f| f.fields).map_err(|e| e.to_string())
    }

    #[test]
    fn fields_of_2014_have_v1_names() {
        for (segment, fields, expected) in [
            ("pods", "DesiredState.Host=", "spec.nodeName="),
            ("pods", "ID=a,Status.Phase!=Running", "metadata.name=a,status.phase!=Running"),
            ("pods", "DesiredState.Status=Running", ""),
            ("services", "name=a", "metadata.name=a"),
            ("events", "involvedObject.kind=Pod,source=kubelet", "involvedObject.kind=Pod,source=kubelet"),
            ("minions", "anything=goes", ""),
        ] {
            assert_eq!(v1(segment, fields).as_deref(), Ok(expected), "{segment} {fields}");
        }
        assert!(v1("replicationControllers", "x=y").is_err());
    }

    #[test]
    fn every_pod_is_wanted_to_run() {
        let row = by_segment("pods").unwrap();
        let pod = (row.read)(serde_json::json!({"metadata": {}})).unwrap();
        let accepts = |fields| Filter::parse(row, "", fields).unwrap().accepts(pod.as_ref());
        assert!(accepts("DesiredState.Status=Running"));
        assert!(!accepts("DesiredState.Status=Waiting"));
    }

    #[test]
    fn a_watch_with_a_bad_selector_is_of_everything() {
        let row = by_segment("pods").unwrap();
        assert_eq!(Filter::lenient(row, "a in (b)", "nope=1"), Filter::default());
        assert_eq!(Filter::lenient(row, "a=b", "?").labels, "a=b");
    }
}
