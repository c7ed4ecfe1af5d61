//! What a run is called.

use std::collections::HashSet;
use std::path::{Component, Path};

/// Name of the directory; if that is exactly `output`, the name of the directory above it. A relative path
/// is taken from `current`, so that `.` and `output` have names too.
#[must_use]
pub fn default_label(dir: &Path, current: &Path) -> String {
    let absolute = current.join(dir);
    let mut names: Vec<String> = Vec::new();
    for part in absolute.components() {
        match part {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => {
                names.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    match &names[..] {
        [.., parent, last] if last == "output" => parent.clone(),
        [.., last] => last.clone(),
        [] => "/".to_owned(),
    }
}

/// The same labels, the second of equal ones followed by ` (2)`, the third by ` (3)`, and so on; the second
/// value names every label that had to be changed.
#[must_use]
pub fn unique_labels(labels: &[String]) -> (Vec<String>, Vec<String>) {
    // A label that was given as `a (2)` keeps its name, whichever comes first.
    let given: HashSet<&str> = labels.iter().map(String::as_str).collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut changed = Vec::new();
    let unique = labels
        .iter()
        .map(|label| {
            let mut name = label.clone();
            let mut n = 1;
            while taken.contains(&name) || (n > 1 && given.contains(name.as_str())) {
                n += 1;
                name = format!("{label} ({n})");
            }
            if n > 1 {
                changed.push(format!(
                    "Label '{label}' is used twice; calling one '{name}'"
                ));
            }
            taken.insert(name.clone());
            name
        })
        .collect();
    (unique, changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_directory_gives_its_name_and_output_that_of_its_parent() {
        for (dir, expected) in [
            ("test1/output", "test1"),
            ("runs/abc", "abc"),
            ("runs/abc/", "abc"),
            ("output", "work"),
            (".", "work"),
            ("./output/", "work"),
            ("../other", "other"),
            ("/", "/"),
            ("/output", "output"),
            ("a/output/.", "a"),
            ("my output", "my output"),
        ] {
            let label = default_label(Path::new(dir), Path::new("/home/me/work"));
            assert_eq!(label, expected, "{dir}");
        }
    }

    #[test]
    fn equal_labels_get_numbers() {
        let labels = ["a", "a", "b", "a", "a (2)"].map(str::to_owned);
        let (unique, changed) = unique_labels(&labels);
        assert_eq!(unique, ["a", "a (3)", "b", "a (4)", "a (2)"]);
        assert_eq!(changed.len(), 2);
        let (unique, _) = unique_labels(&["<b>x</b>".to_owned(), "<b>x</b>".to_owned()]);
        assert_eq!(unique, ["<b>x</b>", "<b>x</b> (2)"]);
    }

    proptest! {
        /// No two labels are alike, and the first of its kind is never changed.
        #[test]
        fn labels_end_up_unlike_each_other(labels in prop::collection::vec("[ab]( \\([23]\\))?", 0..8)) {
            let (unique, _) = unique_labels(&labels);
            let distinct: HashSet<&String> = unique.iter().collect();
            prop_assert_eq!(distinct.len(), labels.len());
            for (i, label) in labels.iter().enumerate() {
                if labels.iter().position(|l| l == label) == Some(i) {
                    prop_assert_eq!(&unique[i], label);
                }
            }
        }
    }
}
