//! Formats of strings (`format: ipv4`); unknown ones allow anything. Follows upstream's `kube-openapi/pkg/validation/strfmt`
//! and the list of supported formats in `apiextensions-apiserver/pkg/apiserver/validation/formats.go`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use regex::Regex;

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($text).expect("the pattern is a constant"));
    };
}

pattern!(
    HOSTNAME,
    r"^([a-zA-Z0-9\x{0080}-\x{FFFF}]([a-zA-Z0-9\-\x{0080}-\x{FFFF}]{0,61}[a-zA-Z0-9\x{0080}-\x{FFFF}])?)(\.[a-zA-Z0-9\x{0080}-\x{FFFF}]([a-zA-Z0-9\-\x{0080}-\x{FFFF}]{0,61}[a-zA-Z0-9\x{0080}-\x{FFFF}])?)*\.?$"
);
pattern!(UUID, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(UUID3, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(UUID4, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
pattern!(UUID5, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
pattern!(HEX_COLOR, r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$");
pattern!(RGB_COLOR, r"^rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)$");
pattern!(BSON_ID, r"^[0-9a-fA-F]{24}$");
pattern!(EMAIL, r#"^[^\s@<>"]+@[^\s@<>"]+$"#);
pattern!(MAC, r"(?i)^([0-9a-f]{2}[:-]){5}([0-9a-f]{2}[:-]?){1,3}$|^([0-9a-f]{4}\.){2}[0-9a-f]{4}$");
pattern!(SSN, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$");
pattern!(
    CREDIT_CARD,
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$"
);
pattern!(GO_DURATION, r"^[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$");
pattern!(
    SCALA_DURATION,
    r"^\d+\s*(ns|nano|nanos|nanosecond|nanoseconds|us|µs|micro|micros|microsecond|microseconds|ms|milli|millis|millisecond|milliseconds|s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days|w|wk|wks|week|weeks)$"
);
pattern!(SHORT_NAME, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$");

/// Whether `text` is of the format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "bsonobjectid" => BSON_ID.is_match(text),
        "uri" => text.parse::<http::Uri>().is_ok() && (text.starts_with('/') || text.contains(':')),
        "email" => EMAIL.is_match(text),
        "hostname" => text.len() < 256 && HOSTNAME.is_match(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.contains('/') && text.parse::<ipnet::IpNet>().is_ok(),
        "mac" => MAC.is_match(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => UUID3.is_match(text),
        "uuid4" => UUID4.is_match(text),
        "uuid5" => UUID5.is_match(text),
        "creditcard" => CREDIT_CARD.is_match(&text.chars().filter(char::is_ascii_digit).collect::<String>()),
        "ssn" => SSN.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        "rgbcolor" => RGB_COLOR.is_match(text),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "datetime" | "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "duration" => GO_DURATION.is_match(text) || SCALA_DURATION.is_match(text),
        "k8s-short-name" => text.len() <= 63 && SHORT_NAME.is_match(text),
        "k8s-long-name" => text.len() <= 253 && text.split('.').all(|part| SHORT_NAME.is_match(part)),
        _ => true,
    }
}
