//! The names of images; pure.

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name \"{name}\": invalid reference format{more}")]
pub(crate) struct InvalidName {
    name: String,
    /// What is wrong in particular, where that is known.
    more: &'static str,
}

/// The name with `:latest` where it says neither tag nor digest.
pub(crate) fn with_tag(name: &str) -> Result<String, InvalidName> {
    let fail = |more| InvalidName { name: name.to_owned(), more };
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (name, None),
    };
    if let Some(digest) = digest {
        let valid = digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if !valid {
            return Err(fail(""));
        }
    }
    let last = rest.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match rest[last..].find(':') {
        Some(at) => (&rest[..last + at], Some(&rest[last + at + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let later = |byte: u8| first(byte) || byte == b'.' || byte == b'-';
        let mut bytes = tag.bytes();
        if tag.len() > 128 || !bytes.next().is_some_and(first) || !bytes.all(later) {
            return Err(fail(""));
        }
    }
    let repository = repository(path);
    if repository.chars().any(char::is_uppercase) {
        return Err(fail(": repository name must be lowercase"));
    }
    let component = |part: &str| {
        let edge =
            |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    };
    if repository.is_empty() || !repository.split('/').all(component) {
        return Err(fail(""));
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{name}:latest") } else { name.to_owned() })
}

/// The registry a name leads to.
pub(crate) fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((first, _)) if is_host(first) => first,
        _ => "index.docker.io",
    }
}

fn is_host(part: &str) -> bool {
    part.contains('.') || part.contains(':') || part == "localhost"
}

fn repository(path: &str) -> &str {
    match path.split_once('/') {
        Some((first, rest)) if is_host(first) => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_tag_or_digest_mean_latest() {
        for (given, expected) in [
            ("redis", "redis:latest"),
            ("gurpartap/redis", "gurpartap/redis:latest"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("localhost:5000/a/b:1.2", "localhost:5000/a/b:1.2"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ] {
            assert_eq!(with_tag(given).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for given in ["", "Redis", "a//b", "redis:", "re dis", "-redis", "redis@sha256:12", "http://x/y"] {
            assert!(with_tag(given).is_err(), "{given}");
        }
    }

    #[test]
    fn registry_is_the_first_part_that_looks_like_a_host() {
        assert_eq!(registry("redis"), "index.docker.io");
        assert_eq!(registry("library/redis"), "index.docker.io");
        assert_eq!(registry("127.0.0.1:5000/redis"), "127.0.0.1:5000");
    }
}
