//! What `-c` names: a file, a URL or standard input, read as an object of the resource it is for.

use std::io::Read;

use http::Method;
use serde_json::Value;
use skiff_api::v1beta1::kind::Parsed;
use skiff_api::v1beta1::{API_VERSION, Object, Row, body};

use crate::client::Client;
use crate::ending::Ending;
use crate::world::World;

/// The text that `-c` names.
pub(crate) async fn text(named: &str, client: &Client, world: &mut World) -> Result<Vec<u8>, Ending> {
    match named {
        "" => Err(Ending::fatal("Need config file (-c)")),
        "-" => {
            let mut text = Vec::new();
            let read = world.input.read_to_end(&mut text);
            read.map_err(|error| Ending::fatal(format!("Unable to read from stdin: {error}")))?;
            Ok(text)
        }
        url if url.starts_with("http://") || url.starts_with("https://") => fetched(url, client).await,
        path => tokio::fs::read(path)
            .await
            .map_err(|error| Ending::fatal(format!("Unable to read {path}: {error}"))),
    }
}

async fn fetched(url: &str, client: &Client) -> Result<Vec<u8>, Ending> {
    // A stranger's server: our credentials are not for it.
    let request = http::Request::builder().method(Method::GET).uri(url).body(Default::default());
    let request = request.map_err(|error| Ending::fatal(format!("Unable to access URL {url}: {error}")))?;
    match client.pass(request).await {
        Err(error) => Err(Ending::fatal(format!("Unable to access URL {url}: {error}"))),
        Ok((code, bytes)) if code.is_success() => Ok(bytes.to_vec()),
        Ok((code, _)) => Err(Ending::fatal(format!("Unable to read URL, server reported {}", code.as_u16()))),
    }
}

/// The text as an object of a resource, ready to be sent.
pub(crate) fn object(text: &[u8], named: &str, row: &'static Row) -> Result<Box<dyn Object>, Ending> {
    let mut object = row.parse(text).map_err(|error| unparsable(named, row, &error))?;
    row.kind.clone_into(&mut object.meta_mut().kind);
    API_VERSION.clone_into(&mut object.meta_mut().api_version);
    Ok(object)
}

/// The text as an object or a list of a resource.
pub(crate) fn any(text: &[u8], named: &str, row: &'static Row) -> Result<Parsed, Ending> {
    row.parse_any(text).map_err(|error| unparsable(named, row, &error))
}

fn unparsable(named: &str, row: &Row, error: &dyn std::error::Error) -> Ending {
    Ending::fatal(format!("Error parsing {named} as an object for {}: {error}", row.segment))
}

/// `-validate`: refuses members that the kind does not have.
///
/// What is said by a member that is there in the text and gone after reading was said to nobody. Members that say
/// nothing (zero, empty) are not written either and are let pass.
pub(crate) fn check_members(text: &[u8], named: &str, object: &dyn Object) -> Result<(), Ending> {
    let sent = body::tree(text).unwrap_or_default();
    let kept: Value = serde_json::from_str(&object.json()).unwrap_or_default();
    let mut lost = Vec::new();
    compare("", &sent, &kept, &mut lost);
    if lost.is_empty() {
        return Ok(());
    }
    let kind = object.row().kind;
    let lost: Vec<String> =
        lost.iter().map(|path| format!("found invalid field {path} for {kind}")).collect();
    Err(Ending::fatal(format!("Error validating {named}: {}", lost.join(", "))))
}

/// Members that are ignored on purpose, or repeated under another name.
const KNOWN: &[&str] = &["mountType", "key", "path", "proxyPort"];

fn compare(path: &str, sent: &Value, kept: &Value, lost: &mut Vec<String>) {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            for (key, value) in sent {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match kept.get(key) {
                    Some(other) => compare(&path, value, other, lost),
                    None if says_nothing(value) || KNOWN.contains(&key.as_str()) => {}
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(sent), Value::Array(kept)) => {
            for (index, (sent, kept)) in sent.iter().zip(kept).enumerate() {
                compare(&format!("{path}[{index}]"), sent, kept, lost);
            }
        }
        _ => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
    }
}
