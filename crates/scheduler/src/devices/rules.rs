//! Compiled selectors: each expression is compiled once, however many claims and classes have it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use skiff_api::cel::device::Selector;

use super::device::Device;

/// So many are kept.
const MOST: usize = 256;

/// A compiled selector.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Devices remember by it what they were told.
    number: u64,
    selector: Result<Selector, String>,
}

/// All that were compiled.
#[derive(Default)]
pub(crate) struct Rules(Mutex<Known>);

#[derive(Default)]
struct Known {
    rules: HashMap<Box<str>, Arc<Rule>>,
    count: u64,
}

impl Rules {
    /// The selector that an expression stands for.
    pub(crate) fn compiled(&self, expression: &str) -> Arc<Rule> {
        let mut known = self.0.lock();
        if let Some(rule) = known.rules.get(expression) {
            return Arc::clone(rule);
        }
        if known.rules.len() >= MOST {
            known.rules.clear();
        }
        known.count += 1;
        let rule = Arc::new(Rule { number: known.count, selector: Selector::compile(expression) });
        known.rules.insert(expression.into(), Arc::clone(&rule));
        rule
    }
}

impl Rule {
    /// Whether it means the device.
    ///
    /// # Errors
    /// Why that cannot be told, in upstream's words.
    pub(crate) fn means(&self, device: &Device) -> Result<bool, String> {
        let selector = self.selector.as_ref().map_err(|why| format!("CEL compile error: {why}"))?;
        let verdict = device.verdict(self.number, |seen| selector.matches(seen));
        verdict.map_err(|why| format!("CEL runtime error: {why}"))
    }
}
