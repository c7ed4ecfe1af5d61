//! Pages: well formed, self-contained, and every link leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};

use super::{Findings, Validation, run};
use crate::data::RunData;
use crate::files::FileKind;
use crate::stamp::StampedFile;
use crate::test_name::TestName;

/// Name of the dashboard.
const INDEX: &str = "index.html";

/// Attributes whose value a browser follows or fetches.
const REFERENCES: [&str; 9] = [
    "href",
    "src",
    "srcset",
    "poster",
    "action",
    "formaction",
    "data",
    "background",
    "manifest",
];

pub(super) fn check(dir: &Path, listing: &[StampedFile], data: &RunData, found: &mut Validation) {
    let is_page = |file: &&StampedFile| file.name.ends_with(".html");
    let present = super::names(listing);
    let mut index_links = None;
    for file in listing.iter().filter(is_page) {
        found.counts.pages += 1;
        let links = check_page(dir, file, found);
        if file.name == INDEX {
            index_links = links;
        }
    }
    if !present.contains(INDEX) {
        if all_done(data) {
            found.error(INDEX, "every test is complete and there is no dashboard");
        } else {
            found.warn(INDEX, "there is no dashboard");
        }
    }
    if let Some(links) = index_links {
        check_index(&links, listing, found);
    }
    check_expected_charts(&present, data, found);
}

/// The dashboard links every other page once, and every data file.
fn check_index(links: &BTreeMap<String, usize>, listing: &[StampedFile], found: &mut Validation) {
    for file in listing {
        let n = links.get(&file.name).copied().unwrap_or(0);
        if file.name.ends_with(".html") && file.name != INDEX && n != 1 {
            found.error(INDEX, format!("{} is linked {n} times", file.name));
        }
        let is_data = FileKind::of_name(&file.name).is_some();
        if is_data && n == 0 {
            found.error(INDEX, format!("{} is not linked", file.name));
        }
    }
}

/// Charts that a finished test has; one may be missing only because it could not be drawn.
fn check_expected_charts(present: &BTreeSet<&str>, data: &RunData, found: &mut Validation) {
    if !run::wants_charts(data) || data.progress.is_none() {
        return;
    }
    let mode = data.parameter("mode").and_then(|v| v.as_str());
    let mode = mode.unwrap_or("ramp");
    for test in data.summary.iter().map(TestName::from) {
        let (context, rate) = (test.context_size, test.cache_hit_rate);
        if test.working_set_size.is_some() {
            continue;
        }
        for name in [
            format!("{mode}_ctx{context}_cache{rate}.html"),
            format!("performance_vs_cache_rate_{context}.html"),
        ] {
            let known = found.warnings.iter().any(|w| w.file == name);
            if !present.contains(name.as_str()) && !known {
                found.warn(&name, "the chart is missing");
            }
        }
    }
}

/// Whether every test of the command is complete.
fn all_done(data: &RunData) -> bool {
    let Some(progress) = &data.progress else {
        return false;
    };
    let numbers = |key: &str| -> Vec<u64> {
        let list = progress.parameters.get(key).and_then(|v| v.as_array());
        list.into_iter()
            .flatten()
            .filter_map(|v| v.as_u64())
            .collect()
    };
    let (contexts, rates) = (numbers("context_sizes"), numbers("cache_hit_rates"));
    let complete: BTreeSet<(u64, u64)> = progress
        .completed()
        .map(|test| (test.context_size, test.cache_hit_rate.into()))
        .collect();
    contexts.iter().all(|context| {
        rates
            .iter()
            .all(|rate| complete.contains(&(*context, *rate)))
    })
}

/// Checks one page; returns how often it links each file of the directory.
fn check_page(
    dir: &Path,
    file: &StampedFile,
    found: &mut Validation,
) -> Option<BTreeMap<String, usize>> {
    let mut findings = Findings::of(found, &file.name);
    let text = match std::fs::read_to_string(&file.path) {
        Ok(text) => text,
        Err(error) => {
            findings.error(|| error.to_string());
            return None;
        }
    };
    let starts_right = text.len() >= 15
        && text.is_char_boundary(15)
        && text[..15].eq_ignore_ascii_case("<!doctype html>");
    findings.expect(starts_right, || {
        "the page does not begin with <!DOCTYPE html>".to_owned()
    });
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let page = match Document::parse_with_options(&text, options) {
        Ok(page) => page,
        Err(error) => {
            findings.error(|| format!("the page is not well formed: {error}"));
            return None;
        }
    };
    let mut ids: BTreeSet<&str> = BTreeSet::new();
    for node in page.descendants() {
        if let Some(id) = node.attribute("id") {
            findings.expect(ids.insert(id), || format!("two elements have the id {id}"));
        }
    }
    let mut links = BTreeMap::new();
    let mut n_links = 0;
    for reference in page.descendants().flat_map(|node| references(&node)) {
        n_links += 1;
        match target(&reference) {
            Target::Inside(id) => {
                findings.expect(id.is_empty() || ids.contains(id), || {
                    format!("nothing has the id of the link {reference}")
                });
            }
            Target::File(name) => {
                findings.expect(dir.join(&name).exists(), || {
                    format!("the link {reference} leads nowhere")
                });
                *links.entry(name).or_insert(0) += 1;
            }
            Target::Embedded => {}
            Target::Outside => findings.error(|| format!("the page refers to {reference}")),
        }
    }
    for script in page
        .descendants()
        .filter(|node| node.has_tag_name("script"))
    {
        let code: String = script.children().filter_map(|node| node.text()).collect();
        for (at, _) in code.match_indices("://") {
            let rest = &code[at..];
            let outside = !rest.starts_with("://www.w3.org/");
            findings.expect(!outside, || "a script names an address outside".to_owned());
        }
    }
    drop(findings);
    found.counts.links += n_links;
    Some(links)
}

/// Everything in an element that a browser would follow or fetch.
fn references(node: &Node<'_, '_>) -> Vec<String> {
    let mut all = Vec::new();
    for attribute in node.attributes() {
        let value = attribute.value();
        match attribute.name() {
            "srcset" => all.extend(
                value
                    .split(',')
                    .filter_map(|part| part.split_whitespace().next())
                    .map(str::to_owned),
            ),
            name if REFERENCES.contains(&name) => all.push(value.trim().to_owned()),
            "content" if is_refresh(node) => all.push(value.to_owned()),
            _ => all.extend(css_references(value)),
        }
    }
    if node.has_tag_name("style") {
        let css: String = node.children().filter_map(|child| child.text()).collect();
        all.extend(css_references(&css));
    }
    all
}

fn is_refresh(node: &Node<'_, '_>) -> bool {
    node.attribute("http-equiv")
        .is_some_and(|value| value.eq_ignore_ascii_case("refresh"))
}

/// What `url(…)` and `@import` in a style refer to.
fn css_references(css: &str) -> Vec<String> {
    let quotes: &[char] = &['"', '\'', ' '];
    let urls = css.match_indices("url(").map(|(at, start)| {
        let rest = &css[at + start.len()..];
        let inner = rest.split(')').next().unwrap_or_default();
        inner.trim_matches(quotes).to_owned()
    });
    let imports = css.match_indices("@import").map(|(at, start)| {
        let rest = css[at + start.len()..].trim_start();
        let inner = rest.split(';').next().unwrap_or_default();
        inner.trim_matches(quotes).to_owned()
    });
    urls.chain(imports).collect()
}

/// Where a reference leads.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    /// An element of the same page, by id; empty for its top.
    Inside(&'a str),
    /// A file, relative to the directory.
    File(String),
    /// The content itself (`data:`).
    Embedded,
    /// Anywhere else.
    Outside,
}

fn target(reference: &str) -> Target<'_> {
    if let Some(id) = reference.strip_prefix('#') {
        return Target::Inside(id);
    }
    if reference.starts_with("data:") {
        return Target::Embedded;
    }
    let path = reference.split(['?', '#']).next().unwrap_or_default();
    let has_scheme = path.split_once(':').is_some_and(|(scheme, _)| {
        scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b))
    });
    let decoded = percent_decode(path);
    let leaves = decoded.starts_with('/') || decoded.split('/').any(|part| part == "..");
    if path.is_empty() || has_scheme || leaves {
        return Target::Outside;
    }
    Target::File(decoded.strip_prefix("./").unwrap_or(&decoded).to_owned())
}

/// Undoes percent-encoding; bytes that are no UTF-8 become replacement characters and match nothing.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let value = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value {
            Some(value) if first == b'%' => {
                bytes.push(value);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_apart() {
        let check = |reference: &str, expected: Target<'_>| {
            assert_eq!(target(reference), expected, "{reference}");
        };
        let file = |name: &str| Target::File(name.to_owned());
        check("#top", Target::Inside("top"));
        check("ramp_ctx1000_cache0.html", file("ramp_ctx1000_cache0.html"));
        check("./a%20b.csv?x#y", file("a b.csv"));
        check("a%zz.html", file("a%zz.html"));
        check("data:image/png;base64,AA==", Target::Embedded);
        for outside in [
            "http://example.org/x.js",
            "https://example.org",
            "//example.org/x.js",
            "/etc/passwd",
            "../x.html",
            "%2e%2e/x.html",
            "javascript:alert(1)",
            "mailto:a@b",
            "file:///x",
            "",
        ] {
            check(outside, Target::Outside);
        }
    }

    #[test]
    fn references_hide_in_attributes_and_styles() {
        let text = "<html><head><style>@import 'a.css'; p{background:url(\"b.png\")}</style></head>\
            <body style=\"background:url(c.png)\"><a href=\"d.html\">x</a>\
            <img srcset=\"e.png 1x, f.png 2x\" src=\"g.png\"/>\
            <svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\">\
            <rect fill=\"url(#h)\"/><use xlink:href=\"#i\"/><style>r{fill:url(#j)}</style></svg>\
            <meta http-equiv=\"refresh\" content=\"0; url=http://k\"/></body></html>";
        let page = Document::parse(text).unwrap();
        let mut all: Vec<String> = page.descendants().flat_map(|n| references(&n)).collect();
        all.sort();
        let expected = [
            "#h",
            "#i",
            "#j",
            "0; url=http://k",
            "a.css",
            "b.png",
            "c.png",
            "d.html",
            "e.png",
            "f.png",
            "g.png",
        ];
        assert_eq!(all, expected);
    }
}
