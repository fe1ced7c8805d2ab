//! Tokens from a file (`--token-auth-file`): lines of `token,user,uid,"group1,group2"`.
//!
//! Follows upstream's `k8s.io/apiserver/pkg/authentication/token/tokenfile`.

use std::collections::HashMap;

use futures::FutureExt;

use super::{Bearer, Identity, Outcome};
use crate::user::User;

pub(super) const BEARER: Bearer = Bearer {
    name: "token file",
    check: |api, token, audiences| {
        async move {
            match api.static_tokens.0.get(token) {
                Some(user) => Outcome::Known(Identity { user: user.clone(), audiences: audiences.to_vec() }),
                None => Outcome::NotMine,
            }
        }
        .boxed()
    },
};

/// The users by their tokens.
#[derive(Default)]
pub(crate) struct StaticTokens(HashMap<String, User>);

/// A file that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("token file, line {line}: {what}")]
pub struct TokenFileError {
    line: usize,
    what: &'static str,
}

impl StaticTokens {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut users = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let fault = |what| TokenFileError { line: index + 1, what };
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let fields = fields(line).ok_or_else(|| fault("a quote is not closed"))?;
            let [token, name, uid, rest @ ..] = fields.as_slice() else {
                return Err(fault("must have at least 3 columns (token, user name, user uid)"));
            };
            if token.is_empty() {
                return Err(fault("empty token"));
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default();
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let user = User::new(name, groups).known_by(uid, Default::default());
            users.insert(token.clone(), user);
        }
        Ok(Self(users))
    }
}

/// The columns of a line; a quoted one may hold commas.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for c in line.trim().chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    (!quoted).then(|| fields.iter().map(|field| field.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_users_and_groups() {
        let tokens = StaticTokens::parse("# a note\nt1,ann,1,\"dev,ops\"\n\nt2,bob,2\n").unwrap();
        let ann = &tokens.0["t1"];
        assert_eq!(
            (&*ann.name, &*ann.uid, ann.groups.join(" ")),
            ("ann", "1", "dev ops system:authenticated".to_owned())
        );
        assert_eq!(&*tokens.0["t2"].name, "bob");
        assert_eq!(
            StaticTokens::parse("t1,ann").map(|_| ()).unwrap_err().to_string(),
            "token file, line 1: must have at least 3 columns (token, user name, user uid)"
        );
    }
}
