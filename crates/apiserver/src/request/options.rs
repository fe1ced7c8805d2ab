//! The options of a verb, as they stand in the query; checked as upstream's option validation does.

use skiff_api::selector::{FieldSelector, LabelSelector};
use skiff_api::{ApiError, Errors, Strictness};

use super::Query;

/// How a `resourceVersion` is to be understood by a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    NotOlderThan,
    Exact,
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    /// As sent; `None` if absent or empty.
    pub(crate) revision: Option<u64>,
    pub(crate) revision_match: Option<Match>,
    pub(crate) limit: usize,
    pub(crate) token: Option<String>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads the query of a list, or (`watch`) of a watch.
    ///
    /// # Errors
    /// 400 for what cannot be read, 422 for combinations that make no sense.
    pub(crate) fn parse(query: &Query, watch: bool) -> Result<Self, ApiError> {
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let revision = match query.get("resourceVersion") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| invalid_version(text))?),
        };
        let token = query.get("continue").map(str::to_owned);
        let initial_events = query.maybe_flag("sendInitialEvents");
        let revision_match = matching(query, watch, revision, token.is_some(), initial_events)?;
        Ok(Self {
            labels,
            fields,
            revision,
            revision_match,
            limit: query.number("limit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
            token,
            timeout_seconds: query.number("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events,
        })
    }
}

fn invalid_version(text: &str) -> ApiError {
    ApiError::bad_request(format!(
        "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
    ))
}

fn matching(
    query: &Query,
    watch: bool,
    revision: Option<u64>,
    continued: bool,
    initial_events: Option<bool>,
) -> Result<Option<Match>, ApiError> {
    let mut errors = Errors::new();
    let text = query.get("resourceVersionMatch");
    let found = match text {
        None => None,
        Some("NotOlderThan") => Some(Match::NotOlderThan),
        Some("Exact") => Some(Match::Exact),
        Some(other) => {
            errors.not_supported("resourceVersionMatch", other, &["Exact", "NotOlderThan", ""]);
            None
        }
    };
    if watch {
        if initial_events.is_some() {
            match found {
                None if text.is_none() => errors.forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ),
                Some(Match::Exact) => {
                    errors.not_supported("resourceVersionMatch", "Exact", &["NotOlderThan"])
                }
                _ => {}
            }
        } else if text.is_some() {
            errors.forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
    } else {
        if initial_events.is_some() {
            errors.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
        if text.is_some() && continued {
            errors.forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            );
        }
        if text.is_some() && revision.is_none() {
            errors.forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        if found == Some(Match::Exact) && revision == Some(0) {
            errors.forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
    }
    if errors.is_empty() {
        Ok(found)
    } else {
        Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", errors))
    }
}

/// Upstream's bound for a field manager's name, in bytes.
const MANAGER_MAX: usize = 128;

/// Options of create, update and patch.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) strictness: Strictness,
}

impl WriteOptions {
    /// Reads the query of a write.
    ///
    /// # Errors
    /// 422 for values that are none of the allowed ones.
    pub(crate) fn parse(query: &Query, kind: &str) -> Result<Self, ApiError> {
        let mut errors = Errors::new();
        if kind == "PatchOptions" && query.maybe_flag("force").is_some() {
            errors.forbidden("force", "may not be specified for non-apply patch");
        }
        Self::checked(query, kind, errors)
    }

    /// Reads the query of an apply, and whether it is to take fields away from others.
    ///
    /// # Errors
    /// As [`WriteOptions::parse`], and if nobody is named as the manager.
    pub(crate) fn parse_apply(query: &Query) -> Result<(Self, bool), ApiError> {
        let mut errors = Errors::new();
        if query.get("fieldManager").is_none() {
            errors.required("fieldManager", "is required for apply patch");
        }
        Ok((Self::checked(query, "PatchOptions", errors)?, query.flag("force")))
    }

    fn checked(query: &Query, kind: &str, mut errors: Errors) -> Result<Self, ApiError> {
        let manager = query.get("fieldManager").unwrap_or_default();
        if manager.len() > MANAGER_MAX {
            errors.too_long("fieldManager", MANAGER_MAX);
        }
        for (index, letter) in manager.char_indices().filter(|(_, letter)| letter.is_control()) {
            let why = format!("invalid character U+{:04X} (at position {index})", u32::from(letter));
            errors.invalid("fieldManager", manager, why);
        }
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let strictness = match query.get("fieldValidation") {
            None | Some("Warn") => Strictness::Warn,
            Some("Ignore") => Strictness::Ignore,
            Some("Strict") => Strictness::Strict,
            Some(other) => {
                errors.not_supported("fieldValidation", other, &["", "Ignore", "Strict", "Warn"]);
                Strictness::Warn
            }
        };
        if errors.is_empty() {
            Ok(Self { dry_run, strictness })
        } else {
            Err(ApiError::invalid("meta.k8s.io", kind, "", errors))
        }
    }
}

/// True if the write is not to be stored.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Errors) -> bool {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value == "All" {
            dry = true;
        } else {
            errors.not_supported("dryRun", value, &["All"]);
        }
    }
    dry
}
