//! Tokens that a server elsewhere knows: it is shown each (`TokenReview`), and its answer is remembered for a while.
//!
//! Follows upstream's `k8s.io/apiserver/plugin/pkg/authenticator/token/webhook`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use serde::Deserialize;
use serde_json::json;

use super::{Bearer, Identity, Outcome};
use crate::api::Api;
use crate::outbound::{Access, AccessError, Server, insist};
use crate::remembered::{Question, Remembered};
use crate::user::User;

pub(super) const BEARER: Bearer = Bearer {
    name: "webhook",
    check: |api, token, audiences| {
        async move {
            match &api.token_webhook {
                Some(webhook) => webhook.check(api, token, audiences).await,
                None => Outcome::NotMine,
            }
        }
        .boxed()
    },
};

/// Who knows tokens; named as upstream's flags.
#[derive(Clone, Debug)]
pub struct TokenWebhookOptions {
    /// Where it is.
    pub access: Access,
    /// The version of the TokenReview it speaks: `v1` or `v1beta1`.
    pub version: String,
    /// How long an answer is good for.
    pub cache_ttl: Duration,
}

/// The server that knows tokens.
pub(crate) struct TokenWebhook {
    server: Server,
    options: TokenWebhookOptions,
    known: Remembered<Option<(User, Vec<String>)>>,
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: Named,
    audiences: Vec<String>,
    error: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl TokenWebhook {
    /// # Errors
    /// If the server's address or certificates cannot be used.
    pub(crate) fn new(options: &TokenWebhookOptions) -> Result<Self, AccessError> {
        let server = Server::new(&options.access)?;
        Ok(Self { server, options: options.clone(), known: Remembered::default() })
    }

    async fn check(&self, api: &Api, token: &str, wanted: &[String]) -> Outcome {
        let question = Question::of(&format!("{}\n{token}", wanted.join("\n")));
        let answer = match self.known.get(question) {
            Some(known) => known,
            None => match self.ask(api, token, wanted).await {
                Ok(answer) => {
                    self.known.keep(question, answer.clone(), self.options.cache_ttl);
                    answer
                }
                Err(why) => return Outcome::Refused(why),
            },
        };
        match answer {
            Some((user, audiences)) => Outcome::Known(Identity { user, audiences }),
            None => Outcome::NotMine,
        }
    }

    async fn ask(
        &self,
        api: &Api,
        token: &str,
        wanted: &[String],
    ) -> Result<Option<(User, Vec<String>)>, String> {
        let review = json!({
            "apiVersion": format!("authentication.k8s.io/{}", self.options.version), "kind": "TokenReview",
            "metadata": {}, "spec": { "token": token, "audiences": wanted }, "status": { "user": {} },
        });
        let answer = insist(&self.server, &api.tasks, &review).await?;
        let status = serde_json::from_value::<Review>(answer).map_err(|error| error.to_string())?.status;
        if !status.authenticated {
            return if status.error.is_empty() { Ok(None) } else { Err(status.error) };
        }
        // One that says nothing of audiences knows nothing of them: then the token is for this server.
        let of = if status.audiences.is_empty() { &api.issuer.audiences } else { &status.audiences };
        let audiences: Vec<String> =
            wanted.iter().filter(|audience| of.contains(audience)).cloned().collect();
        if audiences.is_empty() && !wanted.is_empty() {
            return Ok(None);
        }
        let Named { username, uid, groups, extra } = status.user;
        Ok(Some((User::new(&username, groups).known_by(&uid, extra), audiences)))
    }
}
