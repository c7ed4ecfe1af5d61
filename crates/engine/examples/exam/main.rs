//! `cargo xtask exam`: is what the testers report right? Servers with known answers, drawn by seed, under virtual time.
//!
//! Exits with 1 where a criterion is missed. `--spoil NAME` does something wrong on purpose, to see it noticed.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

mod capacity;
mod case;
mod draw;
mod grade;
mod hit_rate;
mod in_process;
mod sockets;
mod tiers;
mod truth;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use case::{Case, LONG_TIMES, REQUEST_TIMES, SHORT_TIMES};
use grade::{Answer, Criterion};
use in_process::{Spoil, Words};

/// Seeds of the whole exam.
const SEEDS: u64 = 60;
/// Seeds of the short form, and of the part with real programs: every family once.
const SHORT_SEEDS: u64 = 12;
/// Seeds looked at side by side in real time, where they mostly wait; under virtual time, where they compute, it is one
/// for each processor.
const PROGRAMS: usize = 12;

const INTRO: &str = "# Exam\n\n\
Are the answers right? Servers, thresholds and requests are drawn by seed. What is true of a server at a level is found by \
brute force on the simulator's model alone, without client, windows, statistics or controller of the suite. What the tool \
says comes from the product's own study against the simulator in process, under virtual time (same seeds, same answers), and \
in the rows that begin with *programs* from the released programs, over sockets and in real time.\n\n\
Written by `cargo xtask exam`, which exits with 1 where a share of right answers is below the one that is wanted; CI runs \
`cargo xtask exam --short`.\n\n";

/// What the figures mean for a person who sets durations.
fn advice() -> String {
    format!(
        "How long windows must be for a right answer: for rates, {REQUEST_TIMES} mean request times; for a level that a 95th \
         percentile decides, {LONG_TIMES}. In windows of {SHORT_TIMES} a ramp finds the level that such windows show, with \
         the first round in them, which in some servers is too low by some increments (second and third row). Periods of a \
         sustained test, where nothing is drained between and each level is judged more than once, need no more than \
         {REQUEST_TIMES}.\n"
    )
}

/// When and where this was found.
fn run_line(args: &Args, took: std::time::Duration) -> String {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    format!(
        "Last run{}: {}, seeds {} to {}, {} threads of {model}, {:.0} minutes.\n\n",
        if args.bins.is_some() {
            ""
        } else {
            " (without the programs)"
        },
        jiff::Zoned::now().strftime("%Y-%m-%d"),
        args.seeds.start,
        args.seeds.end - 1,
        n_processors(),
        took.as_secs_f64() / 60.0
    )
}

/// What was asked for on the command line.
struct Args {
    seeds: Range<u64>,
    /// Where the programs are, if they are to be asked, too.
    bins: Option<PathBuf>,
    out: Option<PathBuf>,
    spoil: Spoil,
}

fn parse(args: &[String]) -> Result<Args, String> {
    let value = |name: &str| -> Result<Option<&String>, String> {
        let Some(at) = args.iter().position(|arg| arg == name) else {
            return Ok(None);
        };
        let value = args.get(at + 1);
        value.map(Some).ok_or(format!("{name} needs a value"))
    };
    let spoil = match value("--spoil")? {
        None => Spoil::Nothing,
        Some(word) => Spoil::ALL
            .into_iter()
            .find(|spoil| spoil.name() == word)
            .ok_or_else(|| {
                let names: Vec<&str> = Spoil::ALL.iter().map(|spoil| spoil.name()).collect();
                format!("--spoil {word} is none of {}", names.join(", "))
            })?,
    };
    let seeds = match value("--seed")? {
        Some(word) => {
            let seed = word
                .parse()
                .map_err(|error| format!("--seed {word}: {error}"))?;
            seed..seed + 1
        }
        None if args.iter().any(|arg| arg == "--short") => 0..SHORT_SEEDS,
        None => 0..SEEDS,
    };
    Ok(Args {
        seeds,
        bins: value("--bins")?.map(PathBuf::from),
        out: value("--out")?.map(PathBuf::from),
        spoil,
    })
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args = match parse(&args) {
        Ok(args) => args,
        Err(line) => {
            eprintln!("error: {line}");
            return ExitCode::from(2);
        }
    };
    let started = std::time::Instant::now();
    let words = Words::load();
    let mut criteria = sit(&words, args.seeds.clone(), args.spoil);
    if let Some(bins) = &args.bins {
        let seeds = args.seeds.start..args.seeds.end.min(args.seeds.start + SHORT_SEEDS);
        criteria.extend(sit_with_programs(&words, bins, seeds));
    }
    let intro = format!("{INTRO}{}{}", run_line(&args, started.elapsed()), advice());
    let page = grade::page(&criteria, &intro);
    print!("{page}");
    if let Some(path) = &args.out
        && let Err(error) = std::fs::write(path, &page)
    {
        eprintln!("error: {} could not be written: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if criteria.iter().all(Criterion::is_met) {
        ExitCode::SUCCESS
    } else {
        eprintln!("error: a criterion is missed");
        ExitCode::FAILURE
    }
}

/// Puts all questions of these seeds.
fn sit(words: &Words, seeds: Range<u64>, spoil: Spoil) -> Vec<Criterion> {
    let mut criteria = Vec::from(capacity::criteria());
    criteria.push(hit_rate::criterion());
    criteria.push(tiers::criterion());
    each(&mut criteria, seeds, n_processors(), |seed| {
        let posed = Case::posed(seed, Case::draw, words);
        let (short, as_shown) = capacity::short_ramp(words, &posed, spoil);
        let (input_rate, output_rate) = capacity::rates(words, &posed, spoil);
        vec![
            capacity::ramp(words, &posed, spoil),
            short,
            as_shown,
            capacity::sustained(words, &posed, spoil),
            input_rate,
            output_rate,
            hit_rate::ask(words, seed, spoil),
            tiers::ask(words, seed, spoil),
        ]
    });
    criteria
}

/// Puts those that the real programs in `bins` are asked.
fn sit_with_programs(words: &Words, bins: &Path, seeds: Range<u64>) -> Vec<Criterion> {
    let mut criteria = Vec::from(sockets::criteria());
    each(&mut criteria, seeds, PROGRAMS, |seed| {
        sockets::ask(words, bins, seed).into()
    });
    criteria
}

fn n_processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Answers of one seed, criterion by criterion.
type Sheet = Vec<Vec<Answer>>;

/// Gathers the answers of all seeds, in their order, looked at by so many threads.
fn each(
    criteria: &mut [Criterion],
    seeds: Range<u64>,
    n_threads: usize,
    ask: impl Fn(u64) -> Sheet + Sync,
) {
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let sheets: Mutex<Vec<(u64, Sheet)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let sheet = ask(seed);
                    eprintln!(
                        "seed {seed} done after {:.0} s",
                        started.elapsed().as_secs_f64()
                    );
                    sheets
                        .lock()
                        .expect("no thread panics with it")
                        .push((seed, sheet));
                }
            });
        }
    });
    let mut sheets = sheets.into_inner().expect("no thread panicked with it");
    sheets.sort_by_key(|(seed, _)| *seed);
    for (_, sheet) in sheets {
        for (criterion, answers) in criteria.iter_mut().zip(sheet) {
            criterion.answers.extend(answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the criterion at this place is met over two seeds, as [`sit`] has it.
    fn is_met(at: usize, spoil: Spoil) -> bool {
        let words = Words::load();
        let mut all = Vec::from(capacity::criteria());
        all.push(hit_rate::criterion());
        all.push(tiers::criterion());
        let mut criterion = all.swap_remove(at);
        each(
            std::slice::from_mut(&mut criterion),
            2..4,
            n_processors(),
            |seed| {
                let posed = || Case::posed(seed, Case::draw, &words);
                vec![match at {
                    0 => capacity::ramp(&words, &posed(), spoil),
                    1 => capacity::short_ramp(&words, &posed(), spoil).0,
                    2 => capacity::short_ramp(&words, &posed(), spoil).1,
                    3 => capacity::sustained(&words, &posed(), spoil),
                    4 => capacity::rates(&words, &posed(), spoil).0,
                    5 => capacity::rates(&words, &posed(), spoil).1,
                    6 => hit_rate::ask(&words, seed, spoil),
                    _ => tiers::ask(&words, seed, spoil),
                }]
            },
        );
        criterion.is_met()
    }

    /// An exam that everybody passes examines nothing. That what is right passes is for the exam itself to show.
    #[test]
    fn what_is_wrong_is_noticed() {
        for (at, spoil) in [
            (2, Spoil::PeakTooHigh),
            (2, Spoil::LaxController),
            (3, Spoil::LaxController),
            (4, Spoil::DrainInWindow),
            (5, Spoil::DrainInWindow),
            (6, Spoil::NoWarmUp),
            (6, Spoil::SameFreshText),
            (6, Spoil::ChunkShort),
            (7, Spoil::OtherSets),
        ] {
            assert!(!is_met(at, spoil), "{} went unnoticed", spoil.name());
        }
    }

    #[test]
    fn arguments_are_read() {
        let parsed = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            parse(&words).map(|args| (args.seeds, args.spoil, args.bins))
        };
        assert_eq!(parsed(""), Ok((0..SEEDS, Spoil::Nothing, None)));
        assert_eq!(
            parsed("--short --spoil no-warm-up --bins here"),
            Ok((0..SHORT_SEEDS, Spoil::NoWarmUp, Some(PathBuf::from("here"))))
        );
        assert_eq!(parsed("--seed 7").map(|(seeds, ..)| seeds), Ok(7..8));
        for wrong in ["--seed", "--seed x", "--spoil everything"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
