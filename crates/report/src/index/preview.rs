//! The small picture of a chart that its page carries for the index.

use std::io::Read as _;
use std::path::Path;

use crate::chart::Chart;
use crate::svg::{Layout, draw};

/// The picture stands at the start of a page; this much is read of it. Pages of the originals hold a
/// script of several megabytes and no picture.
const HEAD_BYTES: u64 = 256 * 1024;

const BEFORE: &str = "<template id=\"preview\">";
const AFTER: &str = "</template>";

/// The picture as a `data:` address for `<img>`; `None` where the page carries none.
pub(super) fn of_page(path: &Path) -> Option<String> {
    let mut head = Vec::new();
    crate::atomic::open_regular(path)
        .ok()?
        .take(HEAD_BYTES)
        .read_to_end(&mut head)
        .ok()?;
    let head = String::from_utf8_lossy(&head);
    let (_, rest) = head.split_once(BEFORE)?;
    let (svg, _) = rest.split_once(AFTER)?;
    svg.starts_with("<svg ").then(|| data_address(svg))
}

/// The picture of a chart as a `data:` address.
pub(crate) fn address_of(chart: &Chart) -> String {
    data_address(&draw(chart, Layout::Preview).svg)
}

/// Percent-encodes all that has a meaning in an address or an attribute, and nothing that has none.
fn data_address(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len() * 5 / 4);
    out.push_str("data:image/svg+xml;charset=utf-8,");
    for byte in svg.bytes() {
        match byte {
            b'\n' => out.push(' '),
            b'%' | b'#' | b'<' | b'>' | b'"' | b'&' | b'\'' | b'{' | b'}' | b'|' | b'\\' | b'^'
            | b'`' | b'[' | b']' => out.push_str(&format!("%{byte:02X}")),
            0x20..=0x7e => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
