//! Pages and the dashboard: foreign ones that are wrong, and our own, which must pass.

use std::path::Path;

use super::super::*;
use super::{check, remove, replace, sound};
use crate::catalogue::{write_comparison_charts, write_test_charts};
use crate::fixture;
use crate::index::write_index;
use crate::page::PageContext;
use crate::progress::Progress;

/// A sound directory of a run that wants charts.
fn sound_with_charts_wanted() -> tempfile::TempDir {
    let dir = sound();
    let mut progress = Progress::load(dir.path()).unwrap().unwrap();
    let mut parameters = progress.parameters.clone();
    parameters.insert("skip_graphs".into(), false.into());
    progress.adopt(parameters);
    progress.save(dir.path()).unwrap();
    dir
}

/// Everything this crate writes for a run, taken together, is judged sound by its own validator.
#[test]
fn a_run_with_all_our_pages_has_no_findings() {
    let dir = sound_with_charts_wanted();
    let data = RunData::read(dir.path());
    let context = PageContext {
        model: Some("<script>alert(1)</script> & \"co\"".to_owned()),
        version: "0.1.0".to_owned(),
    };
    write_test_charts(dir.path(), &data, &context).unwrap();
    write_comparison_charts(dir.path(), &data, &context).unwrap();
    write_index(dir.path(), "0.1.0").unwrap();
    let found = validate(dir.path());
    assert_eq!(found.errors, [], "{found}");
    assert_eq!(found.warnings, [], "{found}");
    // Four tests, two contexts, three comparisons, the heat map, the dashboard.
    assert_eq!(found.counts.pages, 4 + 2 + 3 + 1 + 1);
}

#[test]
fn pages_that_are_not_self_contained_or_whole_are_found() {
    let page = |body: &'static str| {
        move |dir: &Path| {
            let text = format!("<!DOCTYPE html><html><body>{body}</body></html>");
            std::fs::write(dir.join("extra.html"), text).unwrap();
        }
    };
    let name = "extra.html";
    check(page("<p>"), name, "not well formed");
    check(
        page("<script src=\"https://cdn.example/x.js\"></script>"),
        name,
        "refers to https://cdn",
    );
    check(
        page("<img src=\"//example.org/a.png\"/>"),
        name,
        "refers to //example",
    );
    check(
        page("<a href=\"http://example.org\">x</a>"),
        name,
        "refers to http://example",
    );
    check(
        page("<p style=\"background:url(http://e.org/a.png)\"/>"),
        name,
        "refers to http://e.org",
    );
    check(
        page("<style>@import url('https://e.org/a.css')</style>"),
        name,
        "refers to https://e.org",
    );
    check(
        page("<script>fetch('https://e.org')</script>"),
        name,
        "a script names an address",
    );
    check(
        page("<a href=\"gone.html\">x</a>"),
        name,
        "gone.html leads nowhere",
    );
    check(page("<a href=\"#gone\">x</a>"), name, "nothing has the id");
    check(page("<a id=\"x\"/><a id=\"x\"/>"), name, "two elements");
    check(page(""), "index.html", "extra.html is linked 0 times");
    check(
        |dir| std::fs::write(dir.join(name), "<html/>").unwrap(),
        name,
        "DOCTYPE",
    );
}

#[test]
fn the_dashboard_is_checked() {
    let index = "index.html";
    check(remove(index), index, "there is no dashboard");
    check(
        replace(index, "href=\"summary_20261122_010848.csv\"", "id=\"x\""),
        index,
        "is not linked",
    );
    check(
        replace(index, "href=\"progress.json\"", "href=\"progress.jsn\""),
        index,
        "leads nowhere",
    );
}

#[test]
fn an_unfinished_run_without_a_dashboard_is_only_unusual() {
    let dir = sound();
    std::fs::remove_file(dir.path().join("index.html")).unwrap();
    let mut progress = Progress::load(dir.path()).unwrap().unwrap();
    progress.adopt(fixture::parameters(&[1000, 2000, 4000], &[0, 50]));
    progress.save(dir.path()).unwrap();
    let found = validate(dir.path());
    assert_eq!(found.errors, [], "{found}");
    assert_eq!(found.warnings.len(), 1, "{found}");
}

#[test]
fn missing_charts_are_unusual_unless_they_were_not_wanted() {
    let dir = sound_with_charts_wanted();
    let found = validate(dir.path());
    assert_eq!(found.errors, [], "{found}");
    let missing: Vec<&str> = found.warnings.iter().map(|w| w.file.as_str()).collect();
    assert_eq!(
        missing,
        [
            "ramp_ctx1000_cache0.html",
            "performance_vs_cache_rate_1000.html",
            "ramp_ctx1000_cache50.html",
            "ramp_ctx2000_cache0.html",
            "performance_vs_cache_rate_2000.html",
            "ramp_ctx2000_cache50.html",
        ]
    );
}
