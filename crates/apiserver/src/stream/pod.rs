//! `pods/log`, `exec`, `attach`, `portforward`: asked here, answered by the kubelet of the pod's node.

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};
use skiff_api::{ApiError, Errors};

use super::frames::{self, Handshake};
use super::{connect, kubelet, relay};
use crate::authz::Authorized;
use crate::request::{Query, Verb};
use crate::subresource::{Of, Sub};
use crate::verbs::Context;
use crate::wire::{self, Body, Response};

const STREAM_VERBS: &[&str] = &["create", "get"];

const fn stream(
    name: &'static str,
    kind: &'static str,
    handle: fn(Context, Authorized) -> BoxFuture<'static, Result<Response, ApiError>>,
) -> Sub {
    Sub { of: Of::Table("pods"), name, verbs: STREAM_VERBS, kind: Some(kind), group_version: None, handle }
}

pub(crate) static EXEC: Sub =
    stream("exec", "PodExecOptions", |context, call| Box::pin(exec(context, call, "exec")));
pub(crate) static ATTACH: Sub =
    stream("attach", "PodAttachOptions", |context, call| Box::pin(exec(context, call, "attach")));
pub(crate) static PORT_FORWARD: Sub =
    stream("portforward", "PodPortForwardOptions", |context, call| Box::pin(port_forward(context, call)));
pub(crate) static LOG: Sub = Sub {
    of: Of::Table("pods"),
    name: "log",
    verbs: &["get"],
    kind: None,
    group_version: None,
    handle: |context, call| Box::pin(log(context, call)),
};

async fn log(context: Context, call: Authorized) -> Result<Response, ApiError> {
    let query = &call.info.query;
    let pod = pod(&context, &call)?;
    let options = log_options(query, &context.target.name)?;
    let container = container(query.get("container"), &pod)?;
    let Some(node) = node_of(&pod) else { return Ok(wire::text(200, "")) };
    let place = kubelet::of(&context.api, node)?;
    let path =
        format!("/containerLogs/{}/{}/{container}?{options}", context.target.namespace, context.target.name);
    let path = path.trim_end_matches('?').to_owned();
    let url = format!("https://{}{path}", place.authority());
    let failed = |why: String| ApiError::new(500, "InternalError", format!("Get \"{url}\": {why}"));
    let io = context.api.kubelets.connect(&place).await.map_err(failed)?;
    let mut request = call.request;
    *request.method_mut() = http::Method::GET;
    let mut handshake = Handshake::take(&mut request);
    let form = handshake.as_mut().map(Handshake::bytes).transpose()?;
    let response = relay::send(&context.api, io, &place.authority(), &path, request).await.map_err(failed)?;
    let code = response.status().as_u16();
    if (200..=206).contains(&code) {
        let body = Body::foreign(response.into_body());
        return Ok(match (handshake, form) {
            (Some(handshake), Some(form)) => {
                handshake.answer(&context.api.tasks, form, frames::pieces(body).boxed())
            }
            _ => wire::answer(200, "text/plain", body),
        });
    }
    let words = relay::words(response.into_body()).await;
    Err(match code {
        400 => ApiError::bad_request(words),
        500 => ApiError::internal(words),
        404 => {
            let message = format!(
                "the server could not find the requested resource ( pods/log {})",
                context.target.name
            );
            ApiError::new(404, "NotFound", message).cause("UnexpectedServerResponse", words, "")
        }
        code => ApiError::new(code, "", words),
    })
}

/// The kubelet's query for a log.
fn log_options(query: &Query, name: &str) -> Result<String, ApiError> {
    let mut errors = Errors::new();
    let mut out = form_urlencoded::Serializer::new(String::new());
    for flag in ["follow", "previous", "timestamps"] {
        if query.flag(flag) {
            out.append_pair(flag, "true");
        }
    }
    for (field, least) in [("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)] {
        if let Some(number) = query.number(field)? {
            match least {
                0 if number < 0 => errors.invalid(field, &number, "must be greater than or equal to 0"),
                1 if number < 1 => errors.invalid(field, &number, "must be greater than 0"),
                _ => {}
            }
            out.append_pair(field, &number.to_string());
        }
    }
    if let Some(time) = query.get("sinceTime") {
        if query.get("sinceSeconds").is_some() {
            errors.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified");
        }
        out.append_pair("sinceTime", time);
    }
    if let Some(stream) = query.get("stream") {
        if !matches!(stream, "All" | "Stdout" | "Stderr") {
            errors.not_supported("stream", stream, &["All", "Stderr", "Stdout"]);
        }
        out.append_pair("stream", stream);
    }
    if errors.is_empty() {
        Ok(out.finish())
    } else {
        Err(ApiError::invalid("", "PodLogOptions", name, errors))
    }
}

async fn exec(context: Context, call: Authorized, what: &'static str) -> Result<Response, ApiError> {
    let query = call.info.query.clone();
    let pod = pod(&context, &call)?;
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if what == "exec" && matches!(phase, "Succeeded" | "Failed") {
        return Err(ApiError::bad_request(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = container(query.get("container"), &pod)?;
    let kind = if what == "exec" { "PodExecOptions" } else { "PodAttachOptions" };
    // Upstream's default for a client that says nothing: output and errors.
    let flag = |name: &str, unless: bool| query.maybe_flag(name).unwrap_or(unless);
    let mut asked = json!({
        "stdin": flag("stdin", false), "stdout": flag("stdout", true), "stderr": flag("stderr", true),
        "tty": flag("tty", false), "container": container,
    });
    if what == "exec" {
        if query.all("command").next().is_none() {
            return Err(ApiError::bad_request("you must specify at least 1 command for the container"));
        }
        asked["command"] = query.all("command").collect();
    }
    let options = connect::admit(&context, &call.user, kind, asked).await?;
    let container = self::container(options["container"].as_str(), &pod)?;
    let place = &context.target;
    let path = format!("/{what}/{}/{}/{container}?{}", place.namespace, place.name, exec_options(&options));
    upgrade(context, call, &pod, path).await
}

/// The kubelet's query for exec and attach.
fn exec_options(options: &Value) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (name, kubelets) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if options[name] == true {
            out.append_pair(kubelets, "1");
        }
    }
    let command = options["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
    out.extend_pairs(command.map(|word| ("command", word)));
    out.finish()
}

async fn port_forward(context: Context, call: Authorized) -> Result<Response, ApiError> {
    let pod = pod(&context, &call)?;
    let numbers =
        call.info.query.all("ports").filter_map(|port| port.parse::<u16>().ok()).collect::<Vec<_>>();
    let asked = if numbers.is_empty() { json!({}) } else { json!({ "ports": numbers }) };
    connect::admit(&context, &call.user, "PodPortForwardOptions", asked).await?;
    let ports = call.info.query.all("ports").map(|port| ("port", port));
    let ports = form_urlencoded::Serializer::new(String::new()).extend_pairs(ports).finish();
    let path = format!("/portForward/{}/{}?{ports}", context.target.namespace, context.target.name);
    upgrade(context, call, &pod, path).await
}

/// Hands the client's stream to the kubelet.
async fn upgrade(context: Context, call: Authorized, pod: &Pod, path: String) -> Result<Response, ApiError> {
    if !relay::wants_upgrade(call.request.headers()) {
        return Err(ApiError::bad_request("Upgrade request required"));
    }
    let name = &context.target.name;
    let node = node_of(pod)
        .ok_or_else(|| ApiError::bad_request(format!("pod {name} does not have a host assigned")))?;
    let place = kubelet::of(&context.api, node)?;
    let failed = |why: String| ApiError::new(500, "InternalError", format!("error dialing backend: {why}"));
    let io = context.api.kubelets.connect(&place).await.map_err(failed)?;
    let path = path.trim_end_matches('?');
    relay::pass(&context.api, io, &place.authority(), path, call.request).await.map_err(failed)
}

fn pod(context: &Context, call: &Authorized) -> Result<std::sync::Arc<Pod>, ApiError> {
    if !matches!(call.info.verb, Verb::Get | Verb::Create) {
        return Err(ApiError::method_not_supported(&context.entry.resource, call.info.verb.word()));
    }
    let found = context.scope(&call.user).stored();
    let found = found.ok_or_else(|| ApiError::not_found(&context.entry.resource, &context.target.name))?;
    found.decode::<Pod>().map_err(ApiError::internal)
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// The container a client means; upstream's `validateContainer`.
fn container(asked: Option<&str>, pod: &Pod) -> Result<String, ApiError> {
    let Some(spec) = &pod.spec else { return Err(ApiError::internal("the pod has no spec")) };
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let names = |list: &[Container]| list.iter().map(|container| container.name.clone()).collect::<Vec<_>>();
    let containers = names(&spec.containers);
    let init = names(spec.init_containers.as_deref().unwrap_or_default());
    let ephemeral: Vec<String> =
        spec.ephemeral_containers.iter().flatten().map(|container| container.name.clone()).collect();
    if let Some(asked) = asked {
        if [&containers, &init, &ephemeral].into_iter().flatten().any(|name| name == asked) {
            return Ok(asked.to_owned());
        }
        return Err(ApiError::bad_request(format!("container {asked} is not valid for pod {pod_name}")));
    }
    match containers.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {pod_name}"))),
        many => {
            let mut why = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                many.join(" ")
            );
            if !init.is_empty() {
                why.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            if !ephemeral.is_empty() {
                why.push_str(&format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" ")));
            }
            Err(ApiError::bad_request(why))
        }
    }
}
