//! Whether a user may do what is asked. The answer is a value: verbs take an [`Authorized`] call and nothing else.
//!
//! `system:masters` may do all; everybody else what the roles of [`roles`] allow, which have RBAC's shape so that stored
//! roles and bindings can take the table's place.

use skiff_api::{ApiError, Resource};

use crate::request::{Info, Target};
use crate::user::{MASTERS, User};
use crate::wire::Request;

mod roles;

/// A request that may be carried out.
pub(crate) struct Authorized {
    pub(crate) info: Info,
    pub(crate) user: User,
    pub(crate) request: Request,
    /// Only this module makes one.
    _proof: (),
}

/// Decides about a request.
///
/// # Errors
/// 403 in upstream's words.
pub(crate) fn decide(info: Info, user: User, request: Request) -> Result<Authorized, ApiError> {
    if allowed(&info, &user) {
        return Ok(Authorized { info, user, request, _proof: () });
    }
    Err(refusal(&info, &user))
}

/// True for paths that are answered to everybody.
pub(crate) fn is_public(path: &str) -> bool {
    roles::PUBLIC.iter().any(|root| roles::below(path, root))
}

fn allowed(info: &Info, user: &User) -> bool {
    user.is_in(MASTERS)
        || match &info.target {
            Some(target) => roles::allow(user, info.verb, target),
            None => roles::allow_path(info),
        }
}

fn refusal(info: &Info, user: &User) -> ApiError {
    let name = &user.name;
    let Some(target) = &info.target else {
        let (verb, path) = (info.method.as_str().to_lowercase(), &info.path);
        let message = format!("forbidden: User \"{name}\" cannot {verb} path \"{path}\"");
        return ApiError::new(403, "Forbidden", message);
    };
    let Target { group, namespace, plural, .. } = target;
    let resource = match target.subresource.as_str() {
        "" => plural.clone(),
        sub => format!("{plural}/{sub}"),
    };
    let scope = if namespace.is_empty() || plural == "namespaces" {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{namespace}\"")
    };
    let why = format!(
        "User \"{name}\" cannot {} resource \"{resource}\" in API group \"{group}\" {scope}",
        info.verb
    );
    let about = Resource {
        group: group.as_str().into(),
        version: target.version.as_str().into(),
        plural: plural.as_str().into(),
        kind: "".into(),
        namespaced: !namespace.is_empty(),
    };
    ApiError::forbidden(&about, &target.name, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(user: &User, method: &str, uri: &str) -> String {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = Info::parse(&method.parse().unwrap(), path, query);
        if allowed(&info, user) { "yes".to_owned() } else { refusal(&info, user).to_string() }
    }

    #[test]
    fn roles_allow_and_refusals_read_as_upstreams() {
        let admin = User::new("admin", [MASTERS]);
        let node = User::new("system:node:one", ["system:nodes"]);
        let nobody = User::new("x", Vec::<String>::new());
        assert_eq!(judge(&admin, "DELETE", "/api/v1/namespaces/a"), "yes");
        assert_eq!(judge(&node, "GET", "/api/v1/pods?watch=1"), "yes");
        assert_eq!(judge(&node, "PATCH", "/api/v1/nodes/one/status"), "yes");
        assert_eq!(
            judge(&node, "PATCH", "/api/v1/nodes/two/status"),
            "nodes \"two\" is forbidden: User \"system:node:one\" cannot patch resource \"nodes/status\" in API group \"\" at the cluster scope"
        );
        assert_eq!(judge(&nobody, "GET", "/version"), "yes");
        assert_eq!(judge(&nobody, "GET", "/metrics"), "forbidden: User \"x\" cannot get path \"/metrics\"");
        assert_eq!(
            judge(&nobody, "GET", "/api/v1/namespaces/default/pods"),
            "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        );
    }
}
