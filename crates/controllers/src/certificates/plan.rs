//! What becomes of a certificate signing request: pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use skiff_base::pki::request::SigningRequest;

/// Certificates by which clients show the server who they are.
pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// The same, of kubelets.
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Certificates by which kubelets show others who they are.
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// What was asked for before signers had names.
const LEGACY: &str = "kubernetes.io/legacy-unknown";

const NODES: &str = "system:nodes";
const NODE: &str = "system:node:";
/// The longest and the shortest life of what is issued.
const LONGEST: i64 = 365 * 24 * 3600;
const SHORTEST: i64 = 600;

const ANSWERED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    since(request, kind).is_some()
}

/// When a condition was set; the beginning of time if it does not say.
fn since(request: &CertificateSigningRequest, kind: &str) -> Option<Timestamp> {
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let condition = conditions.into_iter().find(|condition| condition.type_ == kind)?;
    Some(condition.last_update_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

pub(super) fn issued(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    Some(certificate.0.as_slice()).filter(|bytes| !bytes.is_empty())
}

/// The usages are all needed ones and none but the allowed.
fn usages(request: &CertificateSigningRequest, needed: &[&str], optional: &[&str]) -> bool {
    let usages: Vec<&str> = request.spec.usages.iter().flatten().map(String::as_str).collect();
    needed.iter().all(|needed| usages.contains(needed))
        && usages.iter().all(|usage| needed.contains(usage) || optional.contains(usage))
}

/// Whether a request is one that its signer signs.
///
/// # Errors
/// In upstream's words.
pub(super) fn check(request: &CertificateSigningRequest, asked: &SigningRequest) -> Result<(), &'static str> {
    let node = asked.common_name.starts_with(NODE);
    let nodes = asked.organizations == [NODES];
    match request.spec.signer_name.as_str() {
        CLIENT if !usages(request, &["client auth"], &["digital signature", "key encipherment"]) => Err(
            "invalid usages for requested signer: needs client auth, may have digital signature and key encipherment",
        ),
        KUBELET_CLIENT | KUBELET_SERVING if !nodes => Err("subject organization is not system:nodes"),
        KUBELET_CLIENT | KUBELET_SERVING if !asked.emails.is_empty() => {
            Err("Email subjectAltNames are not allowed")
        }
        KUBELET_CLIENT | KUBELET_SERVING if !asked.uris.is_empty() => {
            Err("URI subjectAltNames are not allowed")
        }
        KUBELET_CLIENT | KUBELET_SERVING if !node => {
            Err("subject common name does not begin with system:node:")
        }
        KUBELET_CLIENT if !asked.dns_names.is_empty() => Err("DNS subjectAltNames are not allowed"),
        KUBELET_CLIENT if !asked.addresses.is_empty() => Err("IP subjectAltNames are not allowed"),
        KUBELET_CLIENT if !usages(request, &["digital signature", "client auth"], &["key encipherment"]) => {
            Err("usages did not match [client auth digital signature key encipherment]")
        }
        KUBELET_SERVING if asked.dns_names.is_empty() && asked.addresses.is_empty() => {
            Err("DNS or IP subjectAltName is required")
        }
        KUBELET_SERVING if !usages(request, &["digital signature", "server auth"], &["key encipherment"]) => {
            Err("usages did not match [digital signature key encipherment server auth]")
        }
        _ => Ok(()),
    }
}

/// True for requests that are ours to sign and may be signed now.
pub(super) fn to_sign(request: &CertificateSigningRequest) -> bool {
    let ours = [CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY].contains(&request.spec.signer_name.as_str());
    ours && has(request, "Approved")
        && !has(request, "Denied")
        && !has(request, "Failed")
        && issued(request).is_none()
}

/// How long what is issued may live.
pub(super) fn validity(request: &CertificateSigningRequest) -> Duration {
    let asked = request.spec.expiration_seconds.map_or(LONGEST, i64::from);
    Duration::from_secs(asked.clamp(SHORTEST, LONGEST).unsigned_abs())
}

/// How a kubelet's request could be approved: the reviews to ask for, one after the other, and what to write.
pub(super) fn approvals(
    request: &CertificateSigningRequest,
    asked: &SigningRequest,
) -> Vec<(&'static str, &'static str)> {
    if request.spec.signer_name != KUBELET_CLIENT || check(request, asked).is_err() {
        return Vec::new();
    }
    let own = request.spec.username.as_deref() == Some(asked.common_name.as_str());
    let renewal =
        ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
    let first = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
    if own { vec![renewal, first] } else { vec![first] }
}

/// When a request is of no use to anybody any more. `ends` is the end of the certificate that was issued.
pub(super) fn stale_at(request: &CertificateSigningRequest, ends: Option<Timestamp>) -> Option<Timestamp> {
    let answered = |kind: &str| since(request, kind).map(|time| time + ANSWERED);
    let (denied, failed) = (answered("Denied"), answered("Failed"));
    let approved = answered("Approved").filter(|_| issued(request).is_some());
    let open = denied.is_none() && failed.is_none() && !has(request, "Approved");
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let pending = created.filter(|_| open).map(|time| time + PENDING);
    // Upstream looks once an hour: who has just written a certificate that is out of date may read it back.
    let expired = ends.map(|end| created.map_or(end, |created| end.max(created + ANSWERED)));
    [denied, failed, approved, pending, expired].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(signer: &str, usages: &[&str]) -> CertificateSigningRequest {
        let value = serde_json::json!({
            "metadata": { "name": "a", "creationTimestamp": "2026-11-22T10:00:00Z" },
            "spec": { "request": "", "signerName": signer, "usages": usages, "username": "system:node:one" },
        });
        serde_json::from_value(value).unwrap()
    }

    fn kubelet() -> SigningRequest {
        let mut asked = SigningRequest::default();
        asked.common_name = "system:node:one".to_owned();
        asked.organizations = vec![NODES.to_owned()];
        asked
    }

    #[test]
    fn kubelets_get_what_kubelets_need_and_nothing_else() {
        let client = request(KUBELET_CLIENT, &["client auth", "digital signature"]);
        assert_eq!(check(&client, &kubelet()), Ok(()));
        assert_eq!(approvals(&client, &kubelet()).len(), 2);
        let mut named = kubelet();
        named.dns_names.push("x".to_owned());
        assert_eq!(check(&client, &named), Err("DNS subjectAltNames are not allowed"));
        assert!(approvals(&client, &named).is_empty());
        let serving = request(KUBELET_SERVING, &["server auth", "digital signature"]);
        assert_eq!(check(&serving, &kubelet()), Err("DNS or IP subjectAltName is required"));
        assert_eq!(check(&serving, &named), Ok(()));
        let mut stranger = named;
        stranger.organizations = vec!["blue".to_owned()];
        assert_eq!(check(&serving, &stranger), Err("subject organization is not system:nodes"));
        assert!(check(&request(CLIENT, &["server auth"]), &stranger).is_err());
        assert_eq!(check(&request(CLIENT, &["client auth"]), &stranger), Ok(()));
    }

    #[test]
    fn requests_go_an_hour_after_their_answer_or_a_day_without_one() {
        let mut asked = request(CLIENT, &["client auth"]);
        assert_eq!(stale_at(&asked, None).unwrap().to_string(), "2026-11-23T10:00:00Z");
        let denied = serde_json::json!({ "conditions": [
            { "type": "Denied", "status": "True", "lastUpdateTime": "2026-11-22T11:00:00Z" },
        ] });
        asked.status = serde_json::from_value(denied).unwrap();
        assert_eq!(stale_at(&asked, None).unwrap().to_string(), "2026-11-22T12:00:00Z");
        assert!(!to_sign(&asked));
    }

    #[test]
    fn a_certificate_out_of_date_does_not_take_its_request_along_at_once() {
        let mut asked = request(CLIENT, &["client auth"]);
        let approved = serde_json::json!({ "conditions": [
            { "type": "Approved", "status": "True", "lastUpdateTime": "2026-11-22T10:30:00Z" },
        ], "certificate": "AP8=" });
        asked.status = serde_json::from_value(approved).unwrap();
        let ends = |text: &str| stale_at(&asked, Some(text.parse().unwrap())).unwrap().to_string();
        assert_eq!(ends("2020-01-01T00:00:00Z"), "2026-11-22T11:00:00Z");
        assert_eq!(ends("2026-11-22T11:20:00Z"), "2026-11-22T11:20:00Z");
    }

    #[test]
    fn nothing_lives_longer_than_a_year_nor_shorter_than_ten_minutes() {
        let mut asked = request(CLIENT, &[]);
        assert_eq!(validity(&asked), Duration::from_secs(31_536_000));
        asked.spec.expiration_seconds = Some(1);
        assert_eq!(validity(&asked), Duration::from_secs(600));
    }
}
