//! Names every kind of chart, one a line, for tests that must look at all of them.

use std::io::{Result, Write};

use report::chart::ChartKind;

fn main() -> Result<()> {
    let mut out = std::io::stdout().lock();
    ChartKind::ALL
        .iter()
        .try_for_each(|kind| writeln!(out, "{}", kind.name()))
}
