//! Links in pages that came through the proxy: what begins at the root of the application must begin at the root of the
//! proxied path instead. Pure; touches nothing but the attributes that hold links.

/// From which path to which.
pub(super) struct Links<'a> {
    /// The v1 proxy's own prefix: v1 may have rewritten a link already.
    pub(super) inner: &'a str,
    /// The prefix the client knows.
    pub(super) outer: &'a str,
}

impl Links<'_> {
    /// The link as the client must follow it; `None` if it is right as it is.
    pub(super) fn rewrite(&self, link: &str) -> Option<String> {
        if !link.starts_with('/') || link.starts_with("//") {
            return None;
        }
        if let Some(rest) = under(link, self.inner) {
            return Some(format!("{}{rest}", self.outer));
        }
        match under(link, self.outer) {
            Some(_) => None,
            None => Some(format!("{}{link}", self.outer)),
        }
    }
}

fn under<'a>(link: &'a str, base: &str) -> Option<&'a str> {
    link.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

/// The attributes that hold one link.
const ATTRIBUTES: &[&str] =
    &["href", "src", "action", "background", "cite", "data", "formaction", "longdesc", "poster"];

/// The page with its links rewritten.
pub(super) fn rewrite(page: &str, links: &Links<'_>) -> String {
    let mut out = String::with_capacity(page.len() + 64);
    let mut rest = page;
    while let Some(open) = rest.find('<') {
        let (text, tag) = rest.split_at(open);
        out.push_str(text);
        let (tag, after) = tag_end(tag);
        if tag.starts_with("<!--") {
            out.push_str(tag)
        } else {
            rewrite_tag(tag, links, &mut out)
        }
        rest = after;
        // What stands in a script or style is not markup.
        for raw in ["script", "style"] {
            if is_opening(tag, raw) {
                let end = find_ignoring_case(rest, &format!("</{raw}")).unwrap_or(rest.len());
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn is_opening(tag: &str, name: &str) -> bool {
    let word = tag.trim_start_matches('<').split(|c: char| !c.is_ascii_alphanumeric()).next();
    word.is_some_and(|word| word.eq_ignore_ascii_case(name)) && !tag.ends_with("/>")
}

fn find_ignoring_case(text: &str, what: &str) -> Option<usize> {
    text.as_bytes().windows(what.len()).position(|window| window.eq_ignore_ascii_case(what.as_bytes()))
}

/// Splits behind the tag that `text` begins with; quotes may hold a `>`.
fn tag_end(text: &str) -> (&str, &str) {
    if text.starts_with("<!--") {
        let end = text.find("-->").map_or(text.len(), |end| end + 3);
        return text.split_at(end);
    }
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '>') => return text.split_at(index + 1),
            _ => {}
        }
    }
    (text, "")
}

fn rewrite_tag(tag: &str, links: &Links<'_>, out: &mut String) {
    let mut rest = tag;
    while let Some(equals) = rest.find('=') {
        let (before, after) = rest.split_at(equals + 1);
        let name = before[..equals].trim_end().rsplit(|c: char| c.is_ascii_whitespace() || c == '<').next();
        let blanks = after.len() - after.trim_start().len();
        let (value, end) = value(&after[blanks..]);
        out.push_str(before);
        out.push_str(&after[..blanks]);
        let is_link =
            name.is_some_and(|name| ATTRIBUTES.iter().any(|known| name.eq_ignore_ascii_case(known)));
        let inner = value.trim_matches(['"', '\'']);
        match links.rewrite(inner).filter(|_| is_link) {
            Some(link) => out.push_str(&value.replacen(inner, &link, 1)),
            None => out.push_str(value),
        }
        rest = &after[blanks + end..];
    }
    out.push_str(rest);
}

/// An attribute's value with its quotes, and where it ends.
fn value(text: &str) -> (&str, usize) {
    let end = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].find(quote).map_or(text.len(), |end| end + 2),
        _ => text.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(text.len()),
    };
    (&text[..end], end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: Links<'static> =
        Links { inner: "/api/v1/namespaces/default/services/web/proxy", outer: "/p/web" };

    #[test]
    fn only_links_from_the_root_are_rewritten() {
        for (page, expected) in [
            (r#"<a href="/x?y=1">"#, r#"<a href="/p/web/x?y=1">"#),
            ("<IMG SRC=/i.png><p>a = /b</p>", "<IMG SRC=/p/web/i.png><p>a = /b</p>"),
            ("<form method='post' action='/f'>", "<form method='post' action='/p/web/f'>"),
            (r#"<a href="x/y">"#, r#"<a href="x/y">"#),
            (r#"<a href="//cdn/x">"#, r#"<a href="//cdn/x">"#),
            (r#"<a href="http://else/x">"#, r#"<a href="http://else/x">"#),
            (r#"<a title="/x" href="/p/web/x">"#, r#"<a title="/x" href="/p/web/x">"#),
            (r#"<a href="/api/v1/namespaces/default/services/web/proxy/x">"#, r#"<a href="/p/web/x">"#),
            (r#"<a title="a>b" href="/x">/x</a>"#, r#"<a title="a>b" href="/p/web/x">/x</a>"#),
            (
                r#"<script>if (a<b) c = "/x"; href="/x"</script><a href="/">"#,
                r#"<script>if (a<b) c = "/x"; href="/x"</script><a href="/p/web/">"#,
            ),
            (r#"<!-- <a href="/x"> --><br>"#, r#"<!-- <a href="/x"> --><br>"#),
            ("", ""),
            ("<a href=", "<a href="),
        ] {
            assert_eq!(rewrite(page, &LINKS), expected);
        }
    }
}
