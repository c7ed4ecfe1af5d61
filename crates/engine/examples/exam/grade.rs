//! How often right, and how far off: gathered, and written as a page.

use std::fmt::Write as _;

use crate::truth::quantile;

/// What came of one question put to the tool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// Which draw it was.
    pub(crate) seed: u64,
    /// Family or part, for the table.
    pub(crate) group: String,
    /// What was true, in words.
    pub(crate) truth: String,
    /// What the tool said, in words.
    pub(crate) said: String,
    /// How far off, in the criterion's unit; `None` where there is no distance.
    pub(crate) error: Option<f64>,
    /// Whether that is right.
    pub(crate) right: bool,
}

/// One criterion over all its answers.
#[derive(Debug, Clone)]
pub(crate) struct Criterion {
    /// The rule, one sentence.
    pub(crate) rule: String,
    /// Short name.
    pub(crate) name: &'static str,
    /// Unit of the errors.
    pub(crate) unit: &'static str,
    /// Share of right answers that is wanted.
    pub(crate) wanted: f64,
    /// All answers.
    pub(crate) answers: Vec<Answer>,
}

/// Distribution of errors without their signs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p95: f64,
    pub(crate) worst: f64,
    pub(crate) worst_seed: u64,
}

impl Criterion {
    /// Share of right answers; 0 without any.
    pub(crate) fn share(&self) -> f64 {
        let right = self.answers.iter().filter(|a| a.right).count();
        right as f64 / self.answers.len().max(1) as f64
    }

    /// Whether the share is as wanted.
    pub(crate) fn is_met(&self) -> bool {
        !self.answers.is_empty() && self.share() >= self.wanted
    }

    /// Seeds drawn.
    pub(crate) fn n_seeds(&self) -> usize {
        let mut seeds: Vec<u64> = self.answers.iter().map(|a| a.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds.len()
    }
}

/// The errors of these answers; `None` where none has one.
pub(crate) fn spread<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Option<Spread> {
    let mut errors: Vec<(f64, u64)> = answers
        .into_iter()
        .filter_map(|a| Some((a.error?.abs(), a.seed)))
        .collect();
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let values: Vec<f64> = errors.iter().map(|e| e.0).collect();
    let (worst, worst_seed) = *errors.last()?;
    Some(Spread {
        median: quantile(&values, 0.5),
        p95: quantile(&values, 0.95),
        worst,
        worst_seed,
    })
}

/// Groups in the order in which they came up.
fn groups(answers: &[Answer]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for answer in answers {
        if !names.contains(&answer.group.as_str()) {
            names.push(&answer.group);
        }
    }
    names
}

/// The page: one table over all criteria, then one per criterion.
pub(crate) fn page(criteria: &[Criterion], intro: &str) -> String {
    let mut page = String::from(intro);
    page.push_str(
        "\n| criterion | seeds | answers | right | wanted | error: median | p95 | worst (seed) | |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for criterion in criteria {
        let verdict = if criterion.is_met() {
            "met"
        } else {
            "**missed**"
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {:.1} % | {:.0} % | {} | {verdict} |",
            criterion.name,
            criterion.n_seeds(),
            criterion.answers.len(),
            100.0 * criterion.share(),
            100.0 * criterion.wanted,
            errors(spread(&criterion.answers), criterion.unit),
        );
    }
    for criterion in criteria {
        let _ = write!(page, "\n## {}\n\n{}\n", criterion.name, criterion.rule);
        page.push_str(
            "\n| drawn | answers | right | error: median | p95 | worst (seed) |\n|---|---|---|---|---|---|\n",
        );
        for group in groups(&criterion.answers) {
            let answers: Vec<&Answer> = criterion
                .answers
                .iter()
                .filter(|a| a.group == group)
                .collect();
            let right = answers.iter().filter(|a| a.right).count();
            let _ = writeln!(
                page,
                "| {group} | {} | {right} | {} |",
                answers.len(),
                errors(spread(answers), criterion.unit)
            );
        }
        let wrong: Vec<&Answer> = criterion.answers.iter().filter(|a| !a.right).collect();
        if !wrong.is_empty() {
            page.push_str("\n| wrong: seed | drawn | true | said |\n|---|---|---|---|\n");
            for answer in wrong {
                let Answer {
                    seed,
                    group,
                    truth,
                    said,
                    ..
                } = answer;
                let _ = writeln!(page, "| {seed} | {group} | {truth} | {said} |");
            }
        }
    }
    page
}

fn errors(spread: Option<Spread>, unit: &str) -> String {
    let Some(spread) = spread else {
        return "– | – | –".to_owned();
    };
    let shown = |value: f64| match unit {
        "%" => format!("{:.2} %", 100.0 * value),
        unit => format!("{value:.1} {unit}"),
    };
    format!(
        "{} | {} | {} ({})",
        shown(spread.median),
        shown(spread.p95),
        shown(spread.worst),
        spread.worst_seed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seed: u64, error: f64) -> Answer {
        Answer {
            seed,
            group: if seed < 3 { "few" } else { "many" }.to_owned(),
            truth: "4".to_owned(),
            said: "8".to_owned(),
            error: Some(error),
            right: error.abs() < 1.0,
        }
    }

    #[test]
    fn a_share_below_what_is_wanted_is_missed_and_the_wrong_seeds_are_named() {
        let criterion = |wanted| Criterion {
            rule: "It is right.".to_owned(),
            name: "peak",
            unit: "increments",
            wanted,
            answers: (0..10)
                .map(|seed| answer(seed, if seed == 7 { -2.0 } else { 0.5 }))
                .collect(),
        };
        assert!(criterion(0.9).is_met() && !criterion(0.95).is_met());
        let page = page(&[criterion(0.95)], "# Exam\n");
        assert!(
            page.contains("| peak | 10 | 10 | 90.0 % | 95 % |"),
            "{page}"
        );
        assert!(page.contains("2.0 increments (7) | **missed** |"), "{page}");
        assert!(page.contains("| 7 | many | 4 | 8 |"), "{page}");
        assert!(page.contains("| few | 3 | 3 |"), "{page}");
    }

    #[test]
    fn nothing_asked_is_nothing_met() {
        let empty = Criterion {
            rule: String::new(),
            name: "",
            unit: "%",
            wanted: 0.0,
            answers: Vec::new(),
        };
        assert!(!empty.is_met());
    }
}
