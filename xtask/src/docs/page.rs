//! What a check needs to know of a Markdown page: its boxes, links and headings.

use std::collections::{BTreeMap, BTreeSet};

/// A box between backticks.
#[derive(Debug)]
pub(super) struct Block {
    /// Line of its first backticks, from 1.
    pub(super) line: usize,
    /// What stands behind them.
    pub(super) info: String,
    /// What is in it.
    pub(super) text: String,
}

impl Block {
    /// Its lines without comments and blanks at the ends; continued lines stand as one.
    pub(super) fn commands(&self) -> Vec<String> {
        self.text
            .replace("\\\n", " ")
            .lines()
            .map(|line| line.split(" #").next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }
}

/// A page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Boxes between backticks.
    pub(super) blocks: Vec<Block>,
    /// Lines at which a box by indentation begins.
    pub(super) indented: Vec<usize>,
    /// Line and target of each link and picture.
    pub(super) links: Vec<(usize, String)>,
    /// Names that a link may have behind its `#`.
    pub(super) anchors: BTreeSet<String>,
}

impl Page {
    /// Reads a page. Backticks open and close boxes at the start of a line, as all our pages have it.
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut open: Option<Block> = None;
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut before = "";
        let mut in_list = false;
        for (line, words) in text.lines().enumerate().map(|(i, words)| (i + 1, words)) {
            let fence = words.trim_start().strip_prefix("```");
            if let Some(block) = &mut open {
                if fence.is_some() {
                    page.blocks.extend(open.take());
                } else {
                    block.text.push_str(words);
                    block.text.push('\n');
                }
                continue;
            }
            if let Some(info) = fence {
                open = Some(Block {
                    line,
                    info: info.trim().to_owned(),
                    text: String::new(),
                });
                continue;
            }
            let indent = words.len() - words.trim_start().len();
            // What is indented further is no item but a box, unless it is part of a list.
            let is_item = (indent < 4 || in_list) && begins_item(words.trim_start());
            in_list = is_item || (in_list && (words.is_empty() || words.starts_with(' ')));
            if words.starts_with("    ") && before.is_empty() && !in_list {
                page.indented.push(line);
            }
            if words.starts_with('#') {
                let slug = slug(words.trim_start_matches('#').trim());
                let n = seen.entry(slug.clone()).or_default();
                page.anchors.insert(match *n {
                    0 => slug,
                    n => format!("{slug}-{n}"),
                });
                *n += 1;
            }
            page.links
                .extend(links(words).into_iter().map(|link| (line, link)));
            before = words;
        }
        page
    }
}

/// Whether a line begins an item of a list: a dash, star, plus or number with a space behind it.
fn begins_item(text: &str) -> bool {
    let behind_number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = behind_number.len() < text.len() && behind_number.starts_with(". ");
    numbered || ["- ", "* ", "+ "].iter().any(|mark| text.starts_with(mark))
}

/// A heading's anchor, as GitHub and mdBook make it: lower case, spaces to dashes, other signs left out.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// Targets of `[…](target)` in a line, outside code.
fn links(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (i, part) in line.split('`').enumerate() {
        // Code stands between an odd and an even backtick; a link whose words are code ends behind it.
        let inside_code = i % 2 == 1;
        if inside_code {
            continue;
        }
        let mut rest = part;
        while let Some((_, behind)) = rest.split_once("](") {
            let Some((target, after)) = behind.split_once(')') else {
                break;
            };
            found.push(target.to_owned());
            rest = after;
        }
    }
    found
}
