//! Go's printf for the verbs that make sense of JSON.

use serde_json::Value;

use super::funcs::text;

/// Formats `args`; a missing one shows as Go shows it.
pub(super) fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+' | '#' | ' ')) {
            spec.left |= flag == '-';
            spec.zero |= flag == '0';
            spec.plus |= flag == '+';
        }
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            spec.width = spec.width * 10 + digit.to_digit(10).unwrap_or(0) as usize;
        }
        if chars.next_if_eq(&'.').is_some() {
            let mut precision = 0;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                precision = precision * 10 + digit.to_digit(10).unwrap_or(0) as usize;
            }
            spec.precision = Some(precision);
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match args.next() {
                Some(arg) => out.push_str(&spec.padded(&spec.shown(verb, arg))),
                None => out.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
    }
    out
}

#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    fn shown(&self, verb: char, arg: &Value) -> String {
        let number = arg.as_f64();
        match (verb, number) {
            ('v', _) => text(arg),
            ('s', _) if arg.is_string() || !arg.is_number() => {
                let text = text(arg);
                self.precision.map_or(text.clone(), |precision| text.chars().take(precision).collect())
            }
            ('q', _) => format!("{:?}", text(arg)),
            ('t', _) if arg.is_boolean() => text(arg),
            ('d', Some(number)) if number.fract() == 0.0 => {
                let sign = if self.plus && number >= 0.0 { "+" } else { "" };
                format!(
                    "{sign}{}",
                    arg.as_i64().map_or_else(|| format!("{number:.0}"), |whole| whole.to_string())
                )
            }
            ('f', Some(number)) => format!("{number:.*}", self.precision.unwrap_or(6)),
            ('x', Some(_)) if arg.is_i64() || arg.is_u64() => {
                format!("{:x}", arg.as_i64().unwrap_or_default())
            }
            (verb, _) => format!("%!{verb}({})", text(arg)),
        }
    }

    fn padded(&self, text: &str) -> String {
        let blanks = self.width.saturating_sub(text.chars().count());
        if self.left {
            return format!("{text}{}", " ".repeat(blanks));
        }
        let fill = if self.zero { "0" } else { " " };
        format!("{}{text}", fill.repeat(blanks))
    }
}
