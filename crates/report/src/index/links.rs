//! Links to all pages of a directory, grouped and in the order of their numbers.

use super::inventory::{Inventory, PageFile};
use super::preview;
use crate::chart::count;

/// One link with its picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) href: String,
    pub(crate) text: String,
    pub(crate) description: &'static str,
    /// Address of a picture of the chart, where the page carries one.
    pub(crate) picture: Option<String>,
}

/// Links under one subheading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) links: Vec<Link>,
    /// Closed blocks, for groups that grow with the number of tests.
    pub(super) blocks: Vec<Block>,
}

/// A closed block of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) title: String,
    pub(super) links: Vec<Link>,
}

/// All groups of a directory, empty ones left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visualizations {
    pub(super) groups: Vec<Group>,
}

/// Categories in the order in which a page shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Category {
    Performance,
    SinglePrompt,
    Comparison,
    Heatmap,
    Sustained,
    SustainedComparison,
    Concurrency,
    Client,
    Other,
}

impl Category {
    fn of(stem: &str) -> Self {
        let has = |part: &str| stem.contains(part);
        if has("performance_vs_cache") || has("performance_vs_working_set") {
            Self::Performance
        } else if has("sustained_comparison") {
            Self::SustainedComparison
        } else if has("comparison") || has("throughput_ctx") {
            Self::Comparison
        } else if (has("fixed_") || has("ramp_")) && context_of(stem).is_some() {
            Self::Concurrency
        } else if has("sustained") {
            Self::Sustained
        } else if has("heatmap") {
            Self::Heatmap
        } else if has("single_prompt") || has("summary_table") {
            Self::SinglePrompt
        } else if stem == "client_health" {
            Self::Client
        } else {
            Self::Other
        }
    }

    fn title(self, ramp: bool) -> &'static str {
        match self {
            Self::Performance => "Performance",
            Self::SinglePrompt => "Single Prompt",
            Self::Comparison => "Comparisons",
            Self::Heatmap => "Heatmap",
            Self::Sustained => "Sustained Mode - Individual Tests",
            Self::SustainedComparison => "Sustained Mode - Comparisons",
            Self::Concurrency if ramp => "Concurrency Ramp Analysis",
            Self::Concurrency => "Fixed Concurrency Analysis",
            Self::Client => "Measuring Client",
            Self::Other => "Additional Graphs",
        }
    }
}

/// A page with everything the grouping needs of its name.
struct Page<'a> {
    stem: &'a str,
    category: Category,
    context: Option<u64>,
    working_set: Option<u64>,
    rate: Option<u64>,
}

impl Visualizations {
    pub(super) fn of(inventory: &Inventory) -> Self {
        let mut pages: Vec<(Page<'_>, &PageFile)> = inventory
            .pages
            .iter()
            .map(|file| (Page::of(&file.name), file))
            .collect();
        // Numbers as numbers: 800 before 1600, 50 % before 100 %.
        pages.sort_by(|(a, _), (b, _)| a.key().cmp(&b.key()));
        let mut groups: Vec<Group> = Vec::new();
        let mut last: Option<(Category, bool)> = None;
        for (page, file) in &pages {
            let ramp = page.stem.contains("ramp_");
            let key = (
                page.category,
                page.category == Category::Concurrency && ramp,
            );
            if last != Some(key) {
                groups.push(Group {
                    title: page.category.title(ramp),
                    links: Vec::new(),
                    blocks: Vec::new(),
                });
                last = Some(key);
            }
            let group = groups.last_mut().expect("a group was just made");
            let link = Link {
                href: file.href.clone(),
                text: page.text(),
                description: page.description(),
                picture: preview::of_page(&file.path),
            };
            if let (Category::Concurrency, Some(context)) = (page.category, page.context) {
                let title = format!("Context: {} tokens", count(context));
                match group.blocks.last_mut() {
                    Some(block) if block.title == title => block.links.push(link),
                    _ => group.blocks.push(Block {
                        title,
                        links: vec![link],
                    }),
                }
            } else {
                group.links.push(link);
            }
        }
        for block in groups.iter_mut().flat_map(|g| &mut g.blocks) {
            let n = block.links.len();
            block.title = format!(
                "{} ({n} {})",
                block.title,
                if n == 1 { "test" } else { "tests" }
            );
        }
        Self { groups }
    }
}

impl<'a> Page<'a> {
    fn of(file: &'a str) -> Self {
        let stem = file.strip_suffix(".html").unwrap_or(file);
        Self {
            stem,
            category: Category::of(stem),
            context: context_of(stem),
            working_set: number_after(stem, "_ws"),
            rate: number_after(stem, "_cache"),
        }
    }

    /// Order on the page: numbers as numbers.
    fn key(&self) -> impl Ord + '_ {
        let fixed = self.category == Category::Concurrency && !self.stem.contains("ramp_");
        (
            self.category,
            fixed,
            self.rank(),
            self.context,
            self.working_set,
            self.rate,
            self.stem,
        )
    }

    /// The table first, then input before output before all else, as everywhere.
    fn rank(&self) -> u8 {
        let starts = |part: &str| self.stem.starts_with(part);
        if starts("summary_comparison") {
            0
        } else if starts("input_") {
            1
        } else if starts("output_throughput") {
            2
        } else if starts("ttft_") {
            3
        } else {
            4
        }
    }

    fn context_text(&self) -> String {
        self.context
            .map(|c| format!("{} tokens", count(c)))
            .unwrap_or_default()
    }

    fn text(&self) -> String {
        let stem = self.stem;
        let context = self.context_text();
        let suffix = match (self.context, self.rate) {
            (Some(_), _) => format!(" ({context})"),
            (None, Some(rate)) => format!(" (Cache: {rate}%)"),
            (None, None) => String::new(),
        };
        let rate = self.rate.map(|r| format!("{r}%"));
        match self.category {
            Category::Performance if stem.contains("performance_vs_cache") => {
                format!("Performance vs Cache Hit Rate{suffix}")
            }
            Category::Performance => {
                let rate = rate.map(|r| format!(", Cache: {r}")).unwrap_or_default();
                format!("Performance vs Working Set (Ctx: {context}{rate})")
            }
            Category::Comparison if stem.starts_with("input_throughput") => {
                format!("Input Throughput Comparison{suffix}")
            }
            Category::Comparison if stem.starts_with("output_throughput") => {
                format!("Output Throughput Comparison{suffix}")
            }
            Category::Comparison if stem.starts_with("output_metrics") => {
                format!("Output Token Metrics{suffix}")
            }
            Category::Comparison if stem.starts_with("ttft_comparison") => {
                format!("TTFT Comparison (Context: {context})")
            }
            Category::Comparison if stem.starts_with("cache_comparison") => {
                format!("Cache Hit Rate Comparison (Context: {context})")
            }
            Category::Comparison if stem == "summary_comparison" => {
                "Summary Comparison Table".to_owned()
            }
            Category::Heatmap if stem == "ttft_heatmap" => "TTFT Heatmap".to_owned(),
            Category::Sustained if self.context.is_some() => {
                let set = self
                    .working_set
                    .map(|w| format!(", WS: {}", count(w)))
                    .unwrap_or_default();
                format!(
                    "Context {context}{set} - Cache {}",
                    rate.unwrap_or_default()
                )
            }
            Category::SustainedComparison if rate.is_some() => {
                format!("Cache {} - All Contexts", rate.unwrap_or_default())
            }
            Category::Concurrency => match (self.working_set, rate) {
                (Some(set), Some(rate)) => format!("WS: {}, Cache: {rate}", count(set)),
                (None, Some(rate)) => format!("Cache: {rate}"),
                _ => stem.to_owned(),
            },
            Category::SinglePrompt if stem.starts_with("single_prompt_performance") => {
                "TTFT: Cold Start vs Cached".to_owned()
            }
            Category::SinglePrompt if stem == "summary_table" => {
                "Summary Statistics Table".to_owned()
            }
            Category::Client => "Health of the Client".to_owned(),
            _ => stem.to_owned(),
        }
    }

    fn description(&self) -> &'static str {
        let stem = self.stem;
        match self.category {
            Category::Performance if stem.contains("performance_vs_cache") => {
                "Throughput, TTFT and request speed at the peak of every cache hit rate, with the spread over repeated windows."
            }
            Category::Performance => "Throughput and TTFT over the size of the working set.",
            Category::Comparison if stem.starts_with("input_throughput") => {
                "Input tokens per second side by side, and the speedup."
            }
            Category::Comparison if stem.starts_with("output_throughput") => {
                "Output tokens per second side by side, and the speedup."
            }
            Category::Comparison if stem.starts_with("output_metrics") => {
                "Inter-token latency and generation speed of one request, for all contexts."
            }
            Category::Comparison if stem.starts_with("ttft_comparison") => {
                "Time to first token of all runs."
            }
            Category::Comparison if stem.starts_with("cache_comparison") => {
                "All cache hit rates of one context over the size of the working set."
            }
            Category::Comparison if stem == "summary_comparison" => {
                "Every configuration without and with cache, and the differences between them."
            }
            Category::Comparison => "Several tests side by side.",
            Category::Heatmap => {
                "Mean time to first token of every context and hit rate at a glance."
            }
            Category::Sustained => "Throughput, latency and concurrency over the time of one test.",
            Category::SustainedComparison => "All contexts over time at one hit rate.",
            Category::Concurrency if stem.contains("ramp_") => {
                "Throughput and TTFT at every level the ramp tried, with its peak and the threshold."
            }
            Category::Concurrency => "Throughput and TTFT at every given level.",
            Category::SinglePrompt if stem == "summary_table" => {
                "Means and spread of every context."
            }
            Category::SinglePrompt => "Time to first token of a cold and of a cached prompt.",
            Category::Client => {
                "What the measuring machine did to the figures: requests in flight as planned and as held, its errors beside their limits, lag, processor."
            }
            Category::Other if stem.starts_with("trace_replay_performance") => {
                "Time to first token, throughput and users, period by period."
            }
            Category::Other if stem.starts_with("trace_replay_cache_hit") => {
                "Cache hit rates, users and requests, period by period."
            }
            Category::Other if stem.starts_with("trace_replay_user") => {
                "Every user with its requests over time."
            }
            Category::Other if stem.starts_with("trace_replay_rate") => {
                "Queue, budgets, effective TTFT and goodput, period by period."
            }
            Category::Other => "A page this program does not know.",
        }
    }
}

/// Context size in a page's name: `…ctx8000…` or `performance_vs_…_8000`.
fn context_of(stem: &str) -> Option<u64> {
    number_after(stem, "ctx")
        .or_else(|| number_after(stem, "performance_vs_cache_rate_"))
        .or_else(|| number_after(stem, "performance_vs_working_set_"))
}

/// The number behind the first `mark` that has one. A `.0` behind it, as the first originals wrote,
/// changes nothing.
fn number_after(stem: &str, mark: &str) -> Option<u64> {
    stem.match_indices(mark).find_map(|(at, _)| {
        let rest = &stem[at + mark.len()..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::{Category, Page, number_after};

    #[test]
    fn every_page_of_the_catalogue_has_its_group_and_text() {
        for (file, category, text) in [
            (
                "performance_vs_cache_rate_1600.html",
                Category::Performance,
                "Performance vs Cache Hit Rate (1,600 tokens)",
            ),
            (
                "performance_vs_working_set_800_cache100.html",
                Category::Performance,
                "Performance vs Working Set (Ctx: 800 tokens, Cache: 100%)",
            ),
            (
                "input_throughput_comparison.html",
                Category::Comparison,
                "Input Throughput Comparison",
            ),
            (
                "output_throughput_comparison_cache50.html",
                Category::Comparison,
                "Output Throughput Comparison (Cache: 50%)",
            ),
            (
                "input_throughput_ctx800.0.html",
                Category::Comparison,
                "Input Throughput Comparison (800 tokens)",
            ),
            (
                "output_metrics_comparison.html",
                Category::Comparison,
                "Output Token Metrics",
            ),
            ("ttft_heatmap.html", Category::Heatmap, "TTFT Heatmap"),
            (
                "ramp_ctx8000_cache5.html",
                Category::Concurrency,
                "Cache: 5%",
            ),
            (
                "fixed_ctx8000_ws64000_cache5.html",
                Category::Concurrency,
                "WS: 64,000, Cache: 5%",
            ),
            (
                "sustained_ctx8000_cache50.html",
                Category::Sustained,
                "Context 8,000 tokens - Cache 50%",
            ),
            (
                "client_health.html",
                Category::Client,
                "Health of the Client",
            ),
            (
                "sustained_comparison_cache50.html",
                Category::SustainedComparison,
                "Cache 50% - All Contexts",
            ),
            (
                "cache_comparison_ctx800.html",
                Category::Comparison,
                "Cache Hit Rate Comparison (Context: 800 tokens)",
            ),
            ("ramp_notes.html", Category::Other, "ramp_notes"),
            ("notes & more.html", Category::Other, "notes & more"),
        ] {
            let page = Page::of(file);
            assert_eq!(page.category, category, "{file}");
            assert_eq!(page.text(), text, "{file}");
        }
        assert_eq!(number_after("a_cache_comparison_cache7", "_cache"), Some(7));
    }
}
