//! PriorityLevelConfiguration: how much of the server some requests may take, and how they wait for it.

use k8s_openapi::api::flowcontrol::v1::{
    LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec, QueuingConfiguration,
};
use serde_json::Value;
use skiff_api::Errors;

use super::{bootstrap, flow_schema};
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of PriorityLevelConfiguration.
pub(crate) const KIND: Row = Row { status: true, ..row::<PriorityLevelConfiguration>() };

const MAX_QUEUES: i32 = 10_000_000;
/// How many bits of a flow's hash choose its queues.
const HASH_BITS: u32 = 60;
const POSITIVE: &str = "must be positive";

/// How many bits it takes to deal `hand` of `deck` cards in every order.
fn entropy(deck: i32, hand: i32) -> u32 {
    let bits: f64 = (0..hand).map(|dealt| f64::from(deck - dealt).log2()).sum();
    // The sum of at most sixty logarithms of small numbers.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and far below u32::MAX"
    )]
    let whole = bits.min(1000.0).ceil() as u32;
    whole
}

fn queuing(queuing: &QueuingConfiguration, errors: &mut Errors) {
    let (queues, hand) = (queuing.queues.unwrap_or(0), queuing.hand_size.unwrap_or(0));
    let length = queuing.queue_length_limit.unwrap_or(0);
    if length <= 0 {
        errors.invalid("queueLengthLimit", &length, POSITIVE);
    }
    if queues <= 0 {
        errors.invalid("queues", &queues, POSITIVE);
    } else if queues > MAX_QUEUES {
        errors.invalid("queues", &queues, format!("must not be greater than {MAX_QUEUES}"));
    }
    if hand <= 0 {
        errors.invalid("handSize", &hand, POSITIVE);
    } else if hand > queues {
        errors.invalid("handSize", &hand, format!("should not be greater than queues ({queues})"));
    } else if entropy(queues, hand.min(100)) > HASH_BITS {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.invalid("handSize", &hand, why);
    }
}

fn response(response: &LimitResponse, errors: &mut Errors) {
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", Some(_)) => {
            errors.forbidden("queuing", "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => {
            errors.required("queuing", "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(given)) => errors.at("queuing", |errors| queuing(given, errors)),
        ("Reject", None) => {}
        (other, _) => errors.not_supported("type", other, &["Queue", "Reject"]),
    }
}

fn shares(errors: &mut Errors, shares: Option<i32>, lendable: Option<i32>) {
    if let Some(shares) = shares.filter(|shares| *shares < 0) {
        errors.invalid("nominalConcurrencyShares", &shares, "must be a non-negative integer");
    }
    if let Some(percent) = lendable.filter(|percent| !(0..=100).contains(percent)) {
        errors.invalid("lendablePercent", &percent, "must be between 0 and 100, inclusive");
    }
}

fn limited(limited: &LimitedPriorityLevelConfiguration, errors: &mut Errors) {
    shares(errors, limited.nominal_concurrency_shares, None);
    errors.at("limitResponse", |errors| response(&limited.limit_response, errors));
    shares(errors, None, limited.lendable_percent);
    if let Some(percent) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        errors.invalid("borrowingLimitPercent", &percent, "if specified, must be a non-negative integer");
    }
}

fn validate_spec(name: &str, spec: &PriorityLevelConfigurationSpec, errors: &mut Errors) {
    if (name == "exempt") != (spec.type_ == "Exempt") {
        let why = "type must be 'Exempt' if and only if `name` is 'exempt'";
        errors.invalid("type", &spec.type_, why);
    }
    match spec.type_.as_str() {
        "Exempt" => {
            if spec.limited.is_some() {
                errors.forbidden("limited", "must be nil if the type is not Limited");
            }
            if let Some(exempt) = &spec.exempt {
                errors.at("exempt", |errors| {
                    shares(errors, exempt.nominal_concurrency_shares, exempt.lendable_percent);
                });
            }
        }
        "Limited" => {
            if spec.exempt.is_some() {
                errors.forbidden("exempt", "must be nil if the type is Limited");
            }
            match &spec.limited {
                None => errors.required("limited", "must not be empty when type is Limited"),
                Some(given) => errors.at("limited", |errors| limited(given, errors)),
            }
        }
        other => errors.not_supported("type", other, &["Exempt", "Limited"]),
    }
}

/// A number of the limited configuration, or of its queues.
fn limit(
    level: &PriorityLevelConfiguration,
    pick: fn(&LimitedPriorityLevelConfiguration) -> Option<i32>,
) -> Value {
    let limited = level.spec.limited.as_ref();
    limited.and_then(pick).map_or_else(|| check::or_none("").into(), Value::from)
}

impl Kind for PriorityLevelConfiguration {
    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
        let spec = &mut self.spec;
        if let Some(exempt) = &mut spec.exempt {
            exempt.nominal_concurrency_shares.get_or_insert(0);
            exempt.lendable_percent.get_or_insert(0);
        }
        let Some(limited) = &mut spec.limited else { return };
        limited.nominal_concurrency_shares.get_or_insert(30);
        limited.lendable_percent.get_or_insert(0);
        if let Some(queuing) = &mut limited.limit_response.queuing {
            let or = |slot: &mut Option<i32>, value| *slot = slot.filter(|own| *own != 0).or(Some(value));
            or(&mut queuing.hand_size, 8);
            or(&mut queuing.queues, 64);
            or(&mut queuing.queue_length_limit, 50);
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(Default::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let spec = self.spec.clone();
        errors.at("spec", |errors| {
            validate_spec(name, &spec, errors);
            // Of the exempt level its shares are free.
            let mut rest = spec.clone();
            let fixed = bootstrap::fixed_level(name).map(|fixed| fixed.spec);
            if name == "exempt" {
                rest.exempt = fixed.as_ref().and_then(|fixed| fixed.exempt.clone());
            }
            if fixed.is_some_and(|fixed| fixed != rest) {
                let shown = skiff_api::decode::tree(&spec).unwrap_or_default();
                errors.invalid("", &shown, format!("spec of '{name}' must equal the fixed value"));
            }
        });
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let list = self.status.iter().flat_map(|status| status.conditions.iter().flatten());
        flow_schema::conditions(errors, list.map(|condition| condition.type_.as_str()));
    }

    fn columns() -> Vec<Column<Self>> {
        fn queues(
            level: &PriorityLevelConfiguration,
            pick: fn(&QueuingConfiguration) -> Option<i32>,
        ) -> Value {
            let limited = level.spec.limited.as_ref();
            let queuing = limited.and_then(|limited| limited.limit_response.queuing.as_ref());
            queuing.and_then(pick).map_or_else(|| check::or_none("").into(), Value::from)
        }
        vec![
            Column::<Self>::text("Type", |it, _| it.spec.type_.clone().into()),
            Column::<Self>::text("NominalConcurrencyShares", |it, _| {
                limit(it, |limited| limited.nominal_concurrency_shares)
            }),
            Column::<Self>::text("Queues", |it, _| queues(it, |queuing| queuing.queues)),
            Column::<Self>::text("HandSize", |it, _| queues(it, |queuing| queuing.hand_size)),
            Column::<Self>::text("QueueLengthLimit", |it, _| {
                queues(it, |queuing| queuing.queue_length_limit)
            }),
            Column::age(),
        ]
    }
}
