//! Flags as Go's flag package read them: one dash or two, `-f v` or `-f=v`, booleans never with a blank, and nothing but
//! words after the first word.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Truth,
    Number,
    Time,
    /// `true`, `false` or `raw`; given without a value it is true.
    Version,
}

/// One flag.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) of: Type,
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
}

const fn flag(name: &'static str, of: Type, default: &'static str, help: &'static str) -> Flag {
    Flag { name, of, default, help }
}

/// All flags, in the order of the usage text.
pub(crate) const FLAGS: &[Flag] = &[
    flag("alsologtostderr", Type::Truth, "false", "accepted; logs go to standard error alone"),
    flag("api_version", Type::Text, "v1beta1", "which version of the API to speak"),
    flag("auth", Type::Text, "$HOME/.kubernetes_auth", "the file with credentials, for https"),
    flag("c", Type::Text, "", "what to send: a file, a URL, or - for standard input; JSON or YAML"),
    flag("certificate_authority", Type::Text, "", "the file with the authority's certificate"),
    flag("client_certificate", Type::Text, "", "the file with our certificate"),
    flag("client_key", Type::Text, "", "the file with our key"),
    flag("expect_version_match", Type::Truth, "false", "fail if the server is of another version"),
    flag("fields", Type::Text, "", "field selector for list"),
    flag("h", Type::Text, "", "the server: a URL, a host, or host:port"),
    flag("image", Type::Text, "", "the new image, for rollingupdate"),
    flag("insecure_skip_tls_verify", Type::Truth, "false", "believe any server to be the right one"),
    flag("json", Type::Truth, "false", "print as JSON"),
    flag("l", Type::Text, "", "label selector for list"),
    flag("log_backtrace_at", Type::Text, ":0", "accepted and without effect"),
    flag("log_dir", Type::Text, "", "accepted and without effect"),
    flag("log_flush_frequency", Type::Time, "5s", "accepted and without effect"),
    flag("logtostderr", Type::Truth, "true", "always so"),
    flag("ns", Type::Text, "", "the namespace of this call"),
    flag("ns_file", Type::Text, "$HOME/.kubernetes_ns", "the file with the namespace of all calls"),
    flag("open_browser", Type::Truth, "true", "with -proxy: show the user interface"),
    flag("p", Type::Text, "", "ports for run: host:container or container, joined by commas"),
    flag("proxy", Type::Truth, "false", "serve the API and -www on port 8001"),
    flag("s", Type::Number, "-1", "for run: if above 0, also make a service on this port"),
    flag("server_version", Type::Version, "false", "print the server's version"),
    flag("stderrthreshold", Type::Text, "2", "accepted and without effect"),
    flag("template", Type::Text, "", "print by this template"),
    flag("template_file", Type::Text, "", "print by the template in this file"),
    flag("u", Type::Time, "1m0s", "the pause between pods of a rollingupdate"),
    flag("v", Type::Number, "0", "how much to log"),
    flag("validate", Type::Truth, "false", "refuse what has members that its kind does not have"),
    flag("verbose", Type::Truth, "false", "log what is sent"),
    flag("version", Type::Version, "false", "print the version"),
    flag("vmodule", Type::Text, "", "accepted and without effect"),
    flag("www", Type::Text, "", "with -proxy: the directory to serve below /static/"),
    flag("yaml", Type::Truth, "false", "print as YAML"),
];

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bad {
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    Missing(String),
    #[error("invalid value {value:?} for flag -{flag}")]
    Value { flag: String, value: String },
    #[error("invalid boolean value {value:?} for -{flag}")]
    Truth { flag: String, value: String },
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("help")]
    Help,
}

impl Bad {
    pub(crate) fn is_help(&self) -> bool {
        *self == Self::Help
    }
}

/// The values that were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(BTreeMap<&'static str, String>);

/// A command line.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) flags: Flags,
    pub(crate) words: Vec<String>,
}

impl Args {
    /// Reads a command line.
    pub(crate) fn parse(args: &[String]) -> Result<Self, Bad> {
        let mut flags = Flags::default();
        let mut rest = args.iter();
        let words = loop {
            let before = rest.clone();
            let Some(arg) = rest.next() else { break Vec::new() };
            if !arg.starts_with('-') || arg == "-" {
                break before.cloned().collect();
            }
            if arg == "--" {
                break rest.cloned().collect();
            }
            flags.take(arg, &mut rest)?;
        };
        Ok(Self { flags, words })
    }
}

impl Flags {
    fn take(&mut self, arg: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<(), Bad> {
        let body = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).unwrap_or(arg);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(Bad::Syntax(arg.to_owned()));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            return Err(if name == "help" { Bad::Help } else { Bad::Unknown(name.to_owned()) });
        };
        let value = match (flag.of, value) {
            (_, Some(value)) => value,
            (Type::Truth | Type::Version, None) => "true".to_owned(),
            (_, None) => rest.next().cloned().ok_or_else(|| Bad::Missing(name.to_owned()))?,
        };
        let value = checked(flag, value)?;
        self.0.insert(flag.name, value);
        Ok(())
    }

    /// A flag's text, or its default.
    pub(crate) fn text(&self, name: &str) -> &str {
        if let Some(value) = self.0.get(name) {
            return value;
        }
        FLAGS.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default)
    }

    /// Whether a flag was given.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn truth(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    pub(crate) fn time(&self, name: &str) -> Duration {
        skiff_base::duration::parse(self.text(name)).unwrap_or_default()
    }
}

fn checked(flag: &Flag, value: String) -> Result<String, Bad> {
    let name = || flag.name.to_owned();
    match flag.of {
        Type::Text => Ok(value),
        Type::Truth => match truth(&value) {
            Some(truth) => Ok(truth.to_string()),
            None => Err(Bad::Truth { flag: name(), value }),
        },
        Type::Version if value == "raw" => Ok(value),
        Type::Version => match truth(&value) {
            Some(truth) => Ok(truth.to_string()),
            None => Err(Bad::Value { flag: name(), value }),
        },
        Type::Number if value.parse::<i64>().is_ok() => Ok(value),
        Type::Time if skiff_base::duration::parse(&value).is_some() => Ok(value),
        Type::Number | Type::Time => Err(Bad::Value { flag: name(), value }),
    }
}

/// Go's words for true and false.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// How to call it.
pub(crate) fn usage() -> String {
    let mut text = String::from(
        "usage: kubecfg [OPTIONS] METHOD [ARGUMENTS]\n\n  Objects, over the REST API:\n    \
         kubecfg [OPTIONS] get|list|create|delete|update|print <RESOURCE>[/<id>]\n    \
         RESOURCE is one of: ",
    );
    text.push_str(&crate::commands::resources());
    text.push_str(
        "\n\n  Replication controllers:\n    kubecfg [OPTIONS] stop|rm|rollingupdate <controller>\n    \
         kubecfg [OPTIONS] resize <controller> <replicas>\n\n  One image, so many times:\n    \
         kubecfg [OPTIONS] run <image> <replicas> <controller>\n\n  The namespace of later calls:\n    \
         kubecfg [OPTIONS] ns [<namespace>]\n\nOptions:\n",
    );
    for flag in FLAGS {
        let default =
            if flag.of == Type::Text { format!("{:?}", flag.default) } else { flag.default.to_owned() };
        text.push_str(&format!("  -{}={default}: {}\n", flag.name, flag.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, Bad> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Args::parse(&words)
    }

    #[test]
    fn flags_end_at_the_first_word() {
        let args = parse("-c=file --h host -json list -l x /pods").unwrap();
        assert_eq!(args.flags.text("c"), "file");
        assert_eq!(args.flags.text("h"), "host");
        assert!(args.flags.truth("json"));
        assert_eq!(args.words, ["list", "-l", "x", "/pods"]);
        assert_eq!(parse("-json -- -x").unwrap().words, ["-x"]);
        assert_eq!(parse("-c - create pods").unwrap().flags.text("c"), "-");
    }

    #[test]
    fn booleans_take_their_value_after_an_equals_sign_only() {
        let args = parse("-json=F -verbose true list").unwrap();
        assert!(!args.flags.truth("json"));
        assert_eq!(args.words, ["true", "list"]);
    }

    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        for (line, expected) in [
            ("-w list", "flag provided but not defined: -w"),
            ("-c", "flag needs an argument: -c"),
            ("-s x", "invalid value \"x\" for flag -s"),
            ("-u 5", "invalid value \"5\" for flag -u"),
            ("-json=maybe", "invalid boolean value \"maybe\" for -json"),
            ("---x", "bad flag syntax: ---x"),
            ("-help", "help"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), expected, "{line}");
        }
    }
}
