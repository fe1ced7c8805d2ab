//! Pages that came through a proxy: their links lead through it, too.
//!
//! Follows upstream's `k8s.io/apimachinery/pkg/util/proxy/transport.go`: links to the page's own server, and where it
//! sends the client on to, get the proxy's path in front. Pages in a coding of their own are left as they are.

use http::header::{self, HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Limited};

use crate::wire::{Body, Response};

/// Larger pages are not looked at.
const LARGEST: usize = 16 << 20;

/// Which attributes of which elements are links.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose text holds no others.
const RAW: &[&str] = &["script", "style", "textarea", "title"];

/// The proxy's path, without a slash at its end, and the server behind it as `host:port`.
pub(super) struct Through<'a> {
    pub(super) prefix: &'a str,
    pub(super) authority: &'a str,
}

impl Through<'_> {
    /// The answer as the client needs it.
    ///
    /// # Errors
    /// If the page breaks off.
    pub(super) async fn answer(&self, response: Response) -> Result<Response, String> {
        let (mut parts, body) = response.into_parts();
        if let Some(place) = text(&parts.headers, &header::LOCATION) {
            if let Some(place) = self.link(place).and_then(|place| HeaderValue::from_str(&place).ok()) {
                parts.headers.insert(header::LOCATION, place);
            }
            return Ok(Response::from_parts(parts, body));
        }
        let kind = text(&parts.headers, &header::CONTENT_TYPE).unwrap_or_default();
        let is_page = kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html");
        let length = text(&parts.headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let fits = length.is_none_or(|length: usize| length <= LARGEST);
        if !is_page || !fits || parts.headers.contains_key(header::CONTENT_ENCODING) {
            return Ok(Response::from_parts(parts, body));
        }
        let page = Limited::new(body, LARGEST).collect().await.map_err(|error| error.to_string())?;
        let page = page.to_bytes();
        let Ok(words) = std::str::from_utf8(&page) else {
            return Ok(Response::from_parts(parts, Body::full(page)));
        };
        // An answer to HEAD says how long the page would be.
        if !page.is_empty() {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let page = self.page(words).into_bytes();
        Ok(Response::from_parts(parts, Body::full(page)))
    }

    /// Where a link leads through the proxy; nothing if it stays as it is.
    fn link(&self, target: &str) -> Option<String> {
        let path = match target.split_once("://") {
            Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                let own = rest.strip_prefix(self.authority)?;
                if own.is_empty() { "/" } else { own }
            }
            _ => target,
        };
        if !path.starts_with('/') || path.starts_with("//") || path.starts_with(self.prefix) {
            return None;
        }
        Some(format!("{}{path}", self.prefix))
    }

    fn page(&self, page: &str) -> String {
        let mut out = String::with_capacity(page.len() + page.len() / 8);
        let mut rest = page;
        while let Some(at) = rest.find('<') {
            copy(&mut out, &mut rest, at);
            if rest.starts_with("<!--") {
                let end = rest.find("-->").map_or(rest.len(), |end| end + 3);
                copy(&mut out, &mut rest, end);
                continue;
            }
            let letters = rest[1..].bytes().take_while(u8::is_ascii_alphanumeric).count();
            let name = rest[1..=letters].to_ascii_lowercase();
            copy(&mut out, &mut rest, letters + 1);
            if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
                continue;
            }
            self.tag(&name, &mut out, &mut rest);
            if RAW.contains(&name.as_str()) {
                let end = format!("</{name}");
                let bytes = rest.as_bytes();
                let found = bytes.windows(end.len()).position(|it| it.eq_ignore_ascii_case(end.as_bytes()));
                copy(&mut out, &mut rest, found.unwrap_or(bytes.len()));
            }
        }
        out.push_str(rest);
        out
    }

    /// The attributes of an element up to the end of its tag.
    fn tag(&self, name: &str, out: &mut String, rest: &mut &str) {
        let links = LINKS.iter().find(|(element, _)| *element == name).map_or(&[][..], |(_, links)| links);
        loop {
            let gap = rest.find(|c: char| !c.is_ascii_whitespace() && c != '/').unwrap_or(rest.len());
            copy(out, rest, gap);
            match rest.chars().next() {
                None => return,
                Some('>') => return copy(out, rest, 1),
                Some('=') => {
                    copy(out, rest, 1);
                    continue;
                }
                Some(_) => {}
            }
            let end = |c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/');
            let key = rest[..rest.find(end).unwrap_or(rest.len())].to_ascii_lowercase();
            copy(out, rest, key.len());
            let after = rest.trim_start();
            let Some(value) = after.strip_prefix('=').map(str::trim_start) else { continue };
            copy(out, rest, rest.len() - value.len());
            let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''));
            if quote.is_some() {
                copy(out, rest, 1);
            }
            let length = match quote {
                Some(quote) => rest.find(quote),
                None => rest.find(|c: char| c.is_ascii_whitespace() || c == '>'),
            };
            let length = length.unwrap_or(rest.len());
            match Some(&rest[..length]).filter(|_| links.contains(&&*key)).and_then(|value| self.link(value))
            {
                Some(link) => {
                    out.push_str(&link);
                    *rest = &rest[length..];
                }
                None => copy(out, rest, length),
            }
            if quote.is_some() && !rest.is_empty() {
                copy(out, rest, 1);
            }
        }
    }
}

fn copy(out: &mut String, rest: &mut &str, length: usize) {
    out.push_str(&rest[..length]);
    *rest = &rest[length..];
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROUGH: Through<'_> = Through { prefix: "/p/proxy", authority: "10.0.0.1:80" };

    #[test]
    fn links_to_the_pages_own_server_lead_through_the_proxy() {
        for (target, expected) in [
            ("/a?b=c#d", Some("/p/proxy/a?b=c#d")),
            ("/", Some("/p/proxy/")),
            ("http://10.0.0.1:80/a", Some("/p/proxy/a")),
            ("http://10.0.0.1:80", Some("/p/proxy/")),
            ("http://example.com/a", None),
            ("//example.com/a", None),
            ("a/b", None),
            ("#top", None),
            ("/p/proxy/a", None),
        ] {
            assert_eq!(THROUGH.link(target).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn only_attributes_that_are_links_change() {
        for (page, expected) in [
            (r#"<a href="/x">/x</a>"#, r#"<a href="/p/proxy/x">/x</a>"#),
            ("<A class=b HREF = '/x' >", "<A class=b HREF = '/p/proxy/x' >"),
            ("<img alt=/x src=/y/><p href=/x>", "<img alt=/x src=/p/proxy/y/><p href=/x>"),
            (r#"<!-- <a href="/x"> --> 1 < 2 </a>"#, r#"<!-- <a href="/x"> --> 1 < 2 </a>"#),
            (
                r#"<script src="/s.js">"<a href='/x'>"</script><link href="/c">"#,
                r#"<script src="/p/proxy/s.js">"<a href='/x'>"</script><link href="/p/proxy/c">"#,
            ),
            ("<a href=\"/x", "<a href=\"/p/proxy/x"),
            ("<é href='/x'><a b href", "<é href='/x'><a b href"),
        ] {
            assert_eq!(THROUGH.page(page), expected);
        }
    }
}
