//! ServiceCIDR: a range from which services get their addresses.

use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRStatus};
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row};
use crate::user::User;

/// The row of ServiceCIDR.
pub(crate) const KIND: Row = Row { status: true, ..row::<ServiceCIDR>() };

const IMMUTABLE: &str = "field is immutable";

fn cidrs(range: &ServiceCIDR) -> &[String] {
    range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default()
}

fn validate_cidrs(range: &ServiceCIDR, errors: &mut Errors) {
    let cidrs = cidrs(range);
    let shown = || skiff_api::decode::tree(cidrs).unwrap_or_default();
    match cidrs.len() {
        0 => errors.required("spec.cidrs", "at least one CIDR required"),
        1 | 2 => {
            let mut check = |(index, text): (usize, &String)| {
                check::canonical_cidr(errors, &format!("spec.cidrs[{index}]"), text)
            };
            let nets: Vec<_> = cidrs.iter().enumerate().filter_map(&mut check).collect();
            if let [a, b] = nets.as_slice()
                && a.addr().is_ipv4() == b.addr().is_ipv4()
            {
                let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                errors.invalid("spec.cidrs", &shown(), why);
            }
        }
        _ => errors.invalid("spec.cidrs", &shown(), "may only hold up to 2 values"),
    }
}

impl Kind for ServiceCIDR {
    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default();
    }

    fn requested_by(&mut self, user: &User) {
        // The server's own range is ready as it is made.
        if *user != User::server() {
            self.status = Some(ServiceCIDRStatus::default());
        }
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate_create(&self, errors: &mut Errors) {
        validate_cidrs(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (new, old) = (cidrs(self), cidrs(old));
        match (old.len(), new.len()) {
            (before, after) if before == after => {
                for (index, (new, _)) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new != old)
                {
                    errors.invalid(&format!("spec.cidrs[{index}]"), new, IMMUTABLE);
                }
            }
            // A range may become dual-stack.
            (1, 2) => {
                if new[0] != old[0] {
                    errors.invalid("spec.cidrs[0]", &new[0], IMMUTABLE);
                }
                validate_cidrs(self, errors);
            }
            _ => {
                let shown = skiff_api::decode::tree(new).unwrap_or_default();
                errors.invalid("spec.cidrs", &shown, IMMUTABLE);
            }
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("CIDRs", |range, _| cidrs(range).join(",").into()), Column::age()]
    }
}
