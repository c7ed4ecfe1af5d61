//! What fits into the memory and the tiers, as a table.

use std::fmt::Write as _;

use cli::number::thousands;
use cli::table::rule;
use kvcalc::fit::{self, Fit};
use kvcalc::{KvBytes, ModelGeometry, TokenCount};

use super::{Answer, GIB, WIDTH};
use crate::plan::Plan;

/// One memory with what fits into it.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) size: KvBytes,
    /// Longest sequences of which a whole batch fits.
    pub(super) longest: Fit,
    /// Requests of each token count of the plan.
    pub(super) requests: Vec<(TokenCount, Fit)>,
}

/// Name of the row of `--memory`.
pub(super) const MEMORY: &str = "memory";

/// One row for the memory of a rank, and one per tier. Tiers are shared by the ranks and hold each key and value once.
pub(super) fn rows<'a>(plan: &'a Plan, answer: &'a Answer) -> Vec<Row<'a>> {
    let row = |name: &'a str, size: KvBytes, geometry: &ModelGeometry| Row {
        name,
        size,
        longest: fit::longest(geometry, &answer.format, plan.batch, size),
        requests: plan
            .tokens
            .iter()
            .map(|&tokens| {
                (
                    tokens,
                    fit::requests(geometry, &answer.format, tokens, size),
                )
            })
            .collect(),
    };
    let memory = plan.memory.map(|size| row(MEMORY, size, &answer.rank));
    let tiers = plan
        .tiers
        .iter()
        .map(|tier| row(&tier.name, tier.size, &answer.geometry));
    memory.into_iter().chain(tiers).collect()
}

/// The section, if anything was asked for.
pub(super) fn section(text: &mut String, plan: &Plan, answer: &Answer) {
    let rows = rows(plan, answer);
    if rows.is_empty() {
        return;
    }
    let longest = if plan.batch == 1 {
        "Longest request".to_owned()
    } else {
        format!("Longest of {}", thousands(plan.batch))
    };
    let mut table = vec![vec!["Tier".to_owned(), "Size".to_owned(), longest]];
    table[0].extend(
        plan.tokens
            .iter()
            .map(|tokens| format!("of {}", thousands(tokens.0))),
    );
    for row in &rows {
        let mut cells = vec![
            row.name.to_owned(),
            format!("{:.2} GiB", row.size.0 as f64 / GIB),
            count(row.longest),
        ];
        cells.extend(row.requests.iter().map(|(_, fit)| count(*fit)));
        table.push(cells);
    }
    let _ = writeln!(text, "\n🧮 What Fits\n{}", rule('-', WIDTH));
    let whose = if plan.ranks.get() > 1 && plan.memory.is_some() {
        " (memory: of one rank)"
    } else {
        ""
    };
    let _ = writeln!(
        text,
        "Longest request in tokens, and number of requests of each length{whose}\n"
    );
    text.push_str(&aligned(&table));
}

fn count(fit: Fit) -> String {
    match fit {
        Fit::UpTo(n) => thousands(n),
        Fit::Unlimited => "unlimited".to_owned(),
    }
}

/// Columns as wide as their widest cell, names at the left and numbers at the right.
fn aligned(table: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = table.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
    let mut text = String::new();
    for row in table {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(text, "{cell:<width$}")
            } else {
                write!(text, "  {cell:>width$}")
            };
        }
        text.push('\n');
    }
    text
}
