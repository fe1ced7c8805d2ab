//! Probes and lifecycle handlers: what is run or asked, and how often.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};
use skiff_api::Errors;

use crate::kinds::check;

/// Checks the three probes of a container.
pub(super) fn all(container: &Container, errors: &mut Errors) {
    const ONCE: &str = "must be 1";
    for (field, probe) in
        [("livenessProbe", &container.liveness_probe), ("startupProbe", &container.startup_probe)]
    {
        let Some(probe) = probe else { continue };
        errors.at(field, |errors| {
            self::probe(probe, errors);
            if let Some(threshold) = probe.success_threshold.filter(|threshold| *threshold != 1) {
                errors.invalid("successThreshold", &threshold, ONCE);
            }
        });
    }
    let Some(probe) = &container.readiness_probe else { return };
    errors.at("readinessProbe", |errors| {
        self::probe(probe, errors);
        if let Some(seconds) = probe.termination_grace_period_seconds {
            errors.invalid("terminationGracePeriodSeconds", &seconds, "must not be set for readinessProbes");
        }
    });
}

fn probe(probe: &Probe, errors: &mut Errors) {
    let mut handlers = Handlers { count: 0, errors };
    handlers.exec(probe.exec.as_ref());
    handlers.http_get(probe.http_get.as_ref());
    handlers.tcp_socket(probe.tcp_socket.as_ref());
    if let Some(grpc) = &probe.grpc {
        handlers.one("grpc", |errors| check::port(errors, "port", grpc.port));
    }
    handlers.finish();
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        check::not_negative(errors, field, value.unwrap_or(0));
    }
    if let Some(seconds) = probe.termination_grace_period_seconds {
        check::positive(errors, "terminationGracePeriodSeconds", seconds);
    }
}

/// Checks what runs after a container starts and before it stops.
pub(super) fn lifecycle(container: &Container, errors: &mut Errors) {
    let Some(lifecycle) = &container.lifecycle else { return };
    errors.at("lifecycle", |errors| {
        for (field, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
            if let Some(handler) = handler {
                errors.at(field, |errors| self::handler(handler, errors));
            }
        }
    });
}

fn handler(handler: &LifecycleHandler, errors: &mut Errors) {
    let mut handlers = Handlers { count: 0, errors };
    handlers.exec(handler.exec.as_ref());
    handlers.http_get(handler.http_get.as_ref());
    handlers.tcp_socket(handler.tcp_socket.as_ref());
    handlers.sleep(handler.sleep.as_ref());
    handlers.finish();
}

/// Counts handlers: exactly one must be there.
struct Handlers<'a> {
    count: usize,
    errors: &'a mut Errors,
}

impl Handlers<'_> {
    fn one(&mut self, field: &str, walk: impl FnOnce(&mut Errors)) {
        self.count += 1;
        if self.count > 1 {
            self.errors.forbidden(field, "may not specify more than 1 handler type");
        } else {
            self.errors.at(field, walk);
        }
    }

    fn exec(&mut self, action: Option<&ExecAction>) {
        let Some(action) = action else { return };
        self.one("exec", |errors| {
            if action.command.as_ref().is_none_or(Vec::is_empty) {
                errors.required("command", "");
            }
        });
    }

    fn http_get(&mut self, action: Option<&HTTPGetAction>) {
        let Some(action) = action else { return };
        self.one("httpGet", |errors| {
            if action.path.as_deref().unwrap_or_default().is_empty() {
                errors.required("path", "");
            }
            check::port_or_name(errors, "port", &action.port);
            let scheme = action.scheme.as_deref().unwrap_or_default();
            check::one_of(errors, "scheme", scheme, &["HTTP", "HTTPS"]);
            for header in action.http_headers.iter().flatten() {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                if header.name.is_empty() || !header.name.bytes().all(plain) {
                    let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
                               'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
                    errors.invalid("httpHeaders", &header.name, why);
                }
            }
        });
    }

    fn tcp_socket(&mut self, action: Option<&TCPSocketAction>) {
        let Some(action) = action else { return };
        self.one("tcpSocket", |errors| check::port_or_name(errors, "port", &action.port));
    }

    fn sleep(&mut self, action: Option<&SleepAction>) {
        let Some(action) = action else { return };
        self.one("sleep", |errors| check::not_negative(errors, "seconds", action.seconds));
    }

    fn finish(self) {
        if self.count == 0 {
            self.errors.required("", "must specify a handler type");
        }
    }
}
