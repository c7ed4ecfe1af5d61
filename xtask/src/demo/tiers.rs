//! The demo's second act: a working set swept over the borders between the simulator's memory tiers.
//!
//! `working_set_tester` measures five sizes; each request reuses a whole prompt, so its TTFT is the time to load that
//! prompt from where it lies. The tiers' bandwidths say how long that takes, and the act fails when a size that must
//! come from a slower tier does not cost at least that much more.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};

use super::{Pace, Programs, Row, filled, newest, number, rows, run_tool};

/// Tokens of a prompt: eight chunks, so that nothing is rounded.
const CONTEXT: u64 = 2048;
/// Bytes of a token in the simulator's `demo` profile.
const BYTES_PER_TOKEN: u64 = 2048;
/// Share of a load that must show in the TTFT.
const SHOWN: f64 = 0.9;

/// Share of the prompts that the server must have taken from its tiers: all but the question and the chat template.
const SERVED: f64 = 0.9;

/// A tier: its name, tokens that it holds, GB/s towards the one above.
struct Tier {
    name: &'static str,
    tokens: u64,
    gb_per_s: f64,
}

/// Room for 6 prompts, for 26, and for all.
const TIERS: [Tier; 3] = [
    Tier {
        name: "HBM",
        tokens: 6 * CONTEXT,
        gb_per_s: 0.0,
    },
    Tier {
        name: "DRAM",
        tokens: 26 * CONTEXT,
        gb_per_s: 0.05,
    },
    Tier {
        name: "SSD",
        tokens: 1 << 20,
        gb_per_s: 0.02,
    },
];
/// Prompts of the sizes, and the tier that each is served from. What was loaded stays where it came from as well, so the
/// first two tiers together hold anything between the room of the second and of both: no size lies there. Requests with
/// their answers take a little room, too.
const SIZES: [(u64, usize); 5] = [(4, 0), (14, 1), (24, 1), (34, 2), (44, 2)];

impl Tier {
    /// Seconds to load a prompt with nothing else under way.
    fn load_s(&self) -> f64 {
        if self.gb_per_s > 0.0 {
            (CONTEXT * BYTES_PER_TOKEN) as f64 / (self.gb_per_s * 1e9)
        } else {
            0.0
        }
    }

    fn option(&self) -> String {
        let name = self.name.to_lowercase();
        format!("{name}:{}:{}:0", self.tokens, self.gb_per_s)
    }
}

/// What one size came to.
#[derive(Debug, Clone, Copy)]
struct Swept {
    prompts: u64,
    requests: u64,
    cached_share: f64,
    median_ttft: f64,
    input_tps: f64,
}

/// Runs the sweep with these programs and tells it.
pub(super) fn act(programs: &Programs<'_>, output: &Path, pace: Pace) -> Result<String> {
    let mut options = Vec::new();
    for tier in &TIERS {
        options.extend(["--tier".to_owned(), tier.option()]);
    }
    let mut server = programs.simulator(&options)?;
    let size = |prompts: u64| (prompts * CONTEXT).to_string();
    let ran = run_tool(
        programs.command("working_set_tester"),
        server.url(),
        output,
        &[
            ("--context-sizes", &CONTEXT.to_string()),
            ("--min-working-set-size", &size(SIZES[0].0)),
            ("--max-working-set-size", &size(SIZES[SIZES.len() - 1].0)),
            ("--working-set-increments", &SIZES.len().to_string()),
            ("--mode", "fixed"),
            ("--fixed-concurrency-levels", "4"),
            ("--ramp-duration", pace.sweep),
            ("--num-retries", "0"),
            ("--output-tokens", "16"),
        ],
    );
    server.stop();
    ran?;
    let swept = rows(&newest(output, "summary_")?)?
        .iter()
        .map(of_row)
        .collect::<Result<Vec<_>>>()?;
    let told = table(&swept).to_string();
    judge(&swept).with_context(|| told.clone())?;
    Ok(told)
}

fn of_row(row: &Row) -> Result<Swept> {
    let float = |column: &str| -> Result<f64> {
        let cell = filled(row, column).with_context(|| format!("no {column}"))?;
        cell.parse().with_context(|| format!("column {column}"))
    };
    Ok(Swept {
        prompts: number(row, "working_set_size")? / CONTEXT,
        requests: number(row, "total_requests")?,
        cached_share: float("reported_cache_hit_rate")?,
        median_ttft: float("median_ttft")?,
        input_tps: float("window_input_tokens_per_sec")?,
    })
}

fn tier_of(prompts: u64) -> Option<&'static Tier> {
    let (_, tier) = SIZES.iter().find(|(size, _)| *size == prompts)?;
    TIERS.get(*tier)
}

fn table(swept: &[Swept]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "Working set",
        "Prompts",
        "Served from",
        "One load",
        "Cached",
        "Requests",
        "Median TTFT",
        "Input tok/s",
    ]);
    for size in swept {
        let tier = tier_of(size.prompts);
        table.add_row([
            format!("{} tokens", size.prompts * CONTEXT),
            size.prompts.to_string(),
            tier.map_or("?", |tier| tier.name).to_owned(),
            tier.map_or_else(String::new, |tier| format!("{:.3} s", tier.load_s())),
            format!("{:.1} %", size.cached_share * 100.0),
            size.requests.to_string(),
            format!("{:.3} s", size.median_ttft),
            format!("{:.0}", size.input_tps),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Every size was served from the cache, costs what its tier costs, and less than any size of a slower tier.
fn judge(swept: &[Swept]) -> Result<()> {
    ensure!(
        swept.len() == SIZES.len(),
        "{} sizes were measured instead of {}",
        swept.len(),
        SIZES.len()
    );
    let fastest = swept[0].median_ttft;
    let slower = |tier: &Tier| {
        let of_slower = swept.iter().filter(|other| {
            tier_of(other.prompts).is_some_and(|other| other.load_s() > tier.load_s())
        });
        of_slower.min_by(|a, b| a.median_ttft.total_cmp(&b.median_ttft))
    };
    for size in swept {
        let tier = tier_of(size.prompts).context("a size was measured that was not asked for")?;
        ensure!(
            size.cached_share > SERVED,
            "{} prompts should come from {}, but the server took only {:.1} % of their tokens from its cache",
            size.prompts,
            tier.name,
            size.cached_share * 100.0
        );
        if let Some(slower) = slower(tier) {
            ensure!(
                size.median_ttft < slower.median_ttft,
                "{} prompts come from {}, but their TTFT is {:.3} s where {} prompts from a slower tier take {:.3} s",
                size.prompts,
                tier.name,
                size.median_ttft,
                slower.prompts,
                slower.median_ttft
            );
        }
        ensure!(
            size.median_ttft >= fastest + SHOWN * tier.load_s(),
            "{} prompts come from {}, {:.3} s away, but their TTFT is {:.3} s where that of {} prompts is {fastest:.3} s",
            size.prompts,
            tier.name,
            tier.load_s(),
            size.median_ttft,
            swept[0].prompts
        );
    }
    ensure!(
        fastest < TIERS[1].load_s(),
        "a set that fits the fastest tier takes {fastest:.3} s, as long as a load from the next one"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(ttfts: [f64; 5]) -> Vec<Swept> {
        SIZES
            .iter()
            .zip(ttfts)
            .map(|((prompts, _), median_ttft)| Swept {
                prompts: *prompts,
                requests: 100,
                cached_share: 0.97,
                median_ttft,
                input_tps: 1.0,
            })
            .collect()
    }

    #[test]
    fn a_border_that_does_not_show_fails_the_act() {
        assert!(judge(&sweep([0.03, 0.3, 0.3, 0.8, 0.8])).is_ok());
        for flat in [
            [0.03, 0.03, 0.3, 0.8, 0.8],
            [0.03, 0.3, 0.3, 0.2, 0.8],
            [0.3, 0.6, 0.6, 0.9, 0.9],
        ] {
            assert!(judge(&sweep(flat)).is_err(), "{flat:?}");
        }
        // Lower bounds alone held where the second tier was as slow as the third …
        assert!(judge(&sweep([0.03, 0.8, 0.8, 0.8, 0.8])).is_err());
        // … and where no tier worked and every prompt was computed anew.
        let mut cold = sweep([0.03, 0.3, 0.3, 0.8, 0.8]);
        for size in &mut cold {
            size.cached_share = 0.0;
        }
        assert!(judge(&cold).is_err());
        assert!(judge(&sweep([0.03, 0.3, 0.3, 0.8, 0.8])[..4]).is_err());
    }
}
