//! CEL: any expression compiles or is refused, and ends within its budget on any value of `self`.
//! Input: the expression, a zero byte, `self` as JSON.
#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use skiff_api::cel::{Env, PER_CALL, Program, Scope, Value};

static HOOK: Once = Once::new();

fuzz_target!(|input: &[u8]| {
    // The interpreter's own panics are caught where it is called and become errors; libFuzzer's hook would end at them.
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let split = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let Ok(source) = std::str::from_utf8(&input[..split]) else { return };
    let env = Env { variables: &["self", "oldSelf"], ..Env::default() };
    let Ok(program) = Program::compile(source, &env) else { return };
    let json = serde_json::from_slice(input.get(split + 1..).unwrap_or_default()).unwrap_or_default();
    let mut scope = Scope::new();
    scope.set("self", Value::json(&json));
    let mut budget = PER_CALL / 100;
    let _any_answer = program.evaluate(&scope, &mut budget);
});
