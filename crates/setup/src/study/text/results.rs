//! All results at the end of a run: the table of the log, and the cells of the report for scripts.

use cli::brief::{millis, whole};
use cli::logging::Line;
use cli::number::{fixed, millions, rounded};
use cli::table::{Column, header, row, rule};
use metrics::summary::SummaryRow;

use super::{Totals, heading, input_tokens, output_tokens, titled};

/// Columns that every tool has, behind those by which it tells its tests apart.
const FIGURES: [Column; 7] = [
    Column::right("Requests", 10),
    Column::right("Input Tok", 12),
    Column::right("Output Tok", 12),
    Column::right("Input/s", 12),
    Column::right("Output/s", 12),
    Column::right("Avg TTFT", 10),
    Column::right("Conc", 6),
];

/// The table of all results; a tool says by which columns it tells its tests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultTable<const N: usize> {
    /// Width of the rules around it, characters.
    pub width: usize,
    /// The tool's own columns, which come first.
    pub tests: [Column; N],
}

impl<const N: usize> ResultTable<N> {
    /// The lines, sorted and with sums; `test` gives the cells of a result in the tool's own columns.
    #[must_use]
    pub fn lines(
        &self,
        results: &[SummaryRow],
        test: impl Fn(&SummaryRow) -> [String; N],
    ) -> Vec<Line> {
        let columns: Vec<Column> = self.tests.iter().chain(&FIGURES).copied().collect();
        let single = Line::plain(rule('-', self.width));
        let mut lines: Vec<Line> = titled(self.width, "Final Summary - All Test Results").into();
        lines.extend([Line::plain(header(&columns)), single.clone()]);
        let results = sorted(results);
        lines.extend(results.iter().map(|result| {
            let cells = test(result).into_iter().chain(figures(result));
            Line::plain(row(&columns, cells))
        }));
        let totals = Totals::of(results);
        let mut cells = vec![String::new(); N];
        if let Some(first) = cells.first_mut() {
            "TOTAL".clone_into(first);
        }
        cells.extend([
            totals.requests.to_string(),
            millions(totals.input_tokens),
            millions(totals.output_tokens),
        ]);
        lines.extend([
            single,
            Line::plain(row(&columns, cells)),
            heading(rule('=', self.width)),
        ]);
        lines
    }
}

/// Cells of [`FIGURES`]. Rates are window-accounted where they are known, as in the charts.
fn figures(result: &SummaryRow) -> [String; 7] {
    [
        result.total_requests.to_string(),
        millions(input_tokens(result)),
        millions(output_tokens(result)),
        rounded(Some(result.best_input_tps())),
        rounded(Some(result.best_output_tps())),
        fixed(result.avg_ttft, 3, "s"),
        result.peak_concurrency.to_string(),
    ]
}

/// Cells of a result in the report for scripts: requests, input and output tokens, input and output rate, mean and
/// 95th percentile of the TTFT, concurrency. Rates follow the published formula, like the summary columns that scripts
/// compare them with; the tokens are true sums.
#[must_use]
pub fn report_figures(result: &SummaryRow) -> [String; 8] {
    [
        result.total_requests.to_string(),
        input_tokens(result).to_string(),
        output_tokens(result).to_string(),
        whole(Some(result.input_tokens_per_sec)),
        whole(Some(result.output_tokens_per_sec)),
        millis(result.avg_ttft),
        millis(result.p95_ttft),
        result.peak_concurrency.to_string(),
    ]
}

/// Results by context size, working set and cache hit rate.
#[must_use]
pub fn sorted(results: &[SummaryRow]) -> Vec<&SummaryRow> {
    let mut sorted: Vec<&SummaryRow> = results.iter().collect();
    sorted.sort_by_key(|r| (r.context_size, r.working_set_size, r.cache_hit_rate));
    sorted
}
