//! The shared style sheet and the content security policy.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::chart::{Chart, Ink};

/// Rules of all pages; colours are variables set before it.
const RULES: &str = include_str!("../../templates/style.css");

/// Colours of everything that is not data, name, light, dark.
const TONES: [(&str, &str, &str); 12] = [
    ("page", "#f6f8fa", "#0d1117"),
    ("bg", "#ffffff", "#161b22"),
    ("fg", "#1f2328", "#e6edf3"),
    ("mut", "#57606a", "#9da7b3"),
    ("line", "#d8dee4", "#30363d"),
    ("grid", "#e4e7eb", "#2b313a"),
    ("axis", "#8c959f", "#6e7681"),
    ("link", "#0969da", "#58a6ff"),
    ("good", "#1a7f37", "#3fb950"),
    ("warn", "#9a6700", "#d29922"),
    ("zebra", "#f2f5f8", "#1c232c"),
    ("warn-bg", "#fff8e1", "#2b2410"),
];

/// The sheet of a page that shows `chart`: as [`style_sheet`], with the colours that only some charts have.
pub(crate) fn style_sheet_for(chart: &Chart) -> String {
    let known: HashSet<Cow<'static, str>> = Ink::ALL.iter().map(|ink| ink.class()).collect();
    let mut rare: Vec<Ink> = chart
        .panels
        .iter()
        .flat_map(|panel| panel.series().iter().map(|series| series.ink))
        .filter(|ink| !known.contains(&ink.class()))
        .collect();
    rare.sort_by_key(|ink| ink.class());
    rare.dedup();
    sheet_of(&rare)
}

/// Variables for light and dark, then the rules. Paper is always light.
pub(crate) fn style_sheet() -> String {
    sheet_of(&[])
}

fn sheet_of(rare: &[Ink]) -> String {
    let mut light = String::new();
    let mut dark = String::new();
    for (name, on_light, on_dark) in TONES {
        let _ = write!(light, "--{name}:{on_light};");
        let _ = write!(dark, "--{name}:{on_dark};");
    }
    let mut classes = String::new();
    for ink in Ink::ALL.iter().chain(rare) {
        let class = ink.class();
        let (r, g, b) = ink.light();
        let _ = write!(light, "--{class}:#{r:02x}{g:02x}{b:02x};");
        let (r, g, b) = ink.dark();
        let _ = write!(dark, "--{class}:#{r:02x}{g:02x}{b:02x};");
        let _ = writeln!(classes, ".{class}{{--c:var(--{class})}}");
    }
    format!(
        ":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n@media print{{:root{{{light}}}}}\n{classes}{RULES}"
    )
}

/// Policy of a page with one inline script: exactly that script runs, and nothing is fetched.
/// `blob:` is for the pictures that the script makes when asked to save one.
pub(crate) fn policy(script: &str) -> String {
    let hash = base64(&Sha256::digest(script.as_bytes()));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; img-src blob: data:; base-uri 'none'; form-action 'none'"
    )
}

/// Policy of a page without a script; pictures stand in it as data.
pub(crate) fn policy_without_script() -> &'static str {
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0u32, |word, byte| (word << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for i in 0..4 {
            if i <= chunk.len() {
                let index = (word >> (18 - 6 * i)) & 63;
                out.push(char::from(ALPHABET[index as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{base64, policy, style_sheet};

    #[test]
    fn base64_follows_its_test_vectors() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn only_the_shared_script_may_run() {
        let policy = policy("alert(1)");
        assert!(policy.starts_with("default-src 'none';"));
        // `printf 'alert(1)' | openssl dgst -sha256 -binary | base64`
        assert!(
            policy.contains("'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"),
            "{policy}"
        );
    }

    #[test]
    fn every_colour_has_a_light_and_a_dark_shade() {
        let sheet = style_sheet();
        for ink in crate::chart::Ink::ALL {
            assert!(
                sheet.matches(&format!("--{}:#", ink.class())).count() >= 3,
                "{ink:?}"
            );
        }
        assert!(!sheet.contains('<') && !sheet.contains('&'));
    }
}
