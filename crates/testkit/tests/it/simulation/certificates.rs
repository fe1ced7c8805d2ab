//! Certificates that are asked for: approved, signed, cleaned away.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::{Value, json};
use skiff_testkit::World;
use skiff_testkit::world::{Check, Dice};

use super::{Scenario, ensure, ensure_there};

/// What the kubelet of node n1 asks for, in PEM and base 64.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIck1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVRXRHdkR25UNTlqZU81CjBORHRPTnVhNk9lK2kya0FOUzdMTCtmdU5va1E4RmtNbXBVRkV6YXZDV1dTYkdwTVFQQ0VhYWY1UFBKR2FSREEKTE1CZnRDNmNvQUF3Q2dZSUtvWkl6ajBFQXdJRFNBQXdSUUloQVBSMmFEblQ5TWt3b0Y5QzNRazBjc0loeUlwQgo3UWsrYXBOaVEwWjNsNnJKQWlCdjE3NU1vS2cxV0tKS1pPaTZ5a1lya3FFSWp4UXA3TUtxN2ZSeVhHSStvQT09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

fn ask(world: &World, name: &str) {
    let value = json!({"metadata": {"name": name}, "spec": {"request": REQUEST, "username": "system:node:n1",
        "groups": ["system:nodes"], "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "usages": ["digital signature", "client auth"]}});
    ensure_there::<CertificateSigningRequest>(world, "", name, value);
}

fn any(dice: &mut Dice) -> String {
    format!("r{}", dice.below(4))
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == kind)
}

fn issued(request: &CertificateSigningRequest) -> bool {
    request.status.as_ref().is_some_and(|status| status.certificate.is_some())
}

#[test]
fn only_what_was_approved_is_signed() {
    let scenario = Scenario {
        name: "certificates",
        schedules: 300,
        controllers: &["csrapproving", "csrsigning", "csrcleaner"],
        begin: |world, dice| ask(world, &any(dice)),
        whim: |world, dice| match dice.below(3) {
            0 => world.delete::<CertificateSigningRequest>("", &any(dice)),
            1 => {
                // Somebody denies one that nobody has approved yet.
                let now = world.look(|truth| truth.now());
                world.edit::<CertificateSigningRequest>("", &any(dice), |it| {
                    if it["status"]["conditions"].as_array().is_none_or(Vec::is_empty) {
                        let denied: Value =
                            json!({"type": "Denied", "status": "True", "lastUpdateTime": now});
                        it["status"]["conditions"] = json!([denied]);
                    }
                });
            }
            _ => ask(world, &any(dice)),
        },
        finally: |world| ask(world, "last"),
        always: || -> Check {
            Box::new(|truth| {
                let wrong = |it: &CertificateSigningRequest| {
                    issued(it) && (!has(it, "Approved") || has(it, "Denied"))
                };
                let all = truth.all::<CertificateSigningRequest>();
                ensure(!all.iter().any(|it| wrong(it)), || "one was signed that was not approved".to_owned())
            })
        },
        end: |truth| {
            let last = truth.get::<CertificateSigningRequest>("", "last");
            ensure(last.is_some_and(|last| issued(&last)), || "the last has no certificate".to_owned())?;
            let all = truth.all::<CertificateSigningRequest>();
            let open = all.iter().filter(|it| !issued(it) && !has(it, "Denied")).count();
            ensure(open == 0, || format!("{open} are open"))
        },
    };
    scenario.run();
}
