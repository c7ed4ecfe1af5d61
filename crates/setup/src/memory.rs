//! Whether the prompts of a run fit into this machine's memory, asked before they are built.
//!
//! Promise: what cannot fit is refused in one line that names both sizes and the remedy; what may not fit is warned
//! of. Where the system does not say how much memory it has, nothing is refused. Only this machine counts: how much
//! the server's cache holds is what the run is to find out.

use cli::Failure;
use cli::logging::{Line, log_lines};
use cli::number::{human_bytes, thousands};

/// A share of the memory that is free from which on a working set is worth a warning.
const NEAR: f64 = 0.8;

/// No tokenizer's token takes less text than this on average; bounds what can fit before one is loaded.
const LEAST_BYTES_PER_TOKEN: u64 = 1;

/// Memory of this machine, or of the group of processes we are confined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that could be had now.
    pub available: u64,
}

/// A working set and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Tokens in it.
    pub tokens: u64,
    /// Bytes of memory.
    pub bytes: u64,
}

impl Memory {
    /// That of this machine; `None` where it does not say.
    #[must_use]
    pub fn of_machine() -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let machine = Self::parse(&read("/proc/meminfo")?)?;
        let limit = read("/sys/fs/cgroup/memory.max")
            .or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
        let used = read("/sys/fs/cgroup/memory.current")
            .or_else(|| read("/sys/fs/cgroup/memory/memory.usage_in_bytes"));
        let number = |text: Option<String>| text?.trim().parse::<u64>().ok();
        Some(machine.confined(number(limit), number(used)))
    }

    /// From the text of `/proc/meminfo`.
    fn parse(meminfo: &str) -> Option<Self> {
        let kib = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':')
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        };
        Some(Self {
            total: kib("MemTotal")?.saturating_mul(1024),
            available: kib("MemAvailable")?.saturating_mul(1024),
        })
    }

    /// What is left of it under a limit on the group of processes. A limit beyond the machine is none.
    fn confined(self, limit: Option<u64>, used: Option<u64>) -> Self {
        match limit {
            Some(limit) if limit < self.total => Self {
                total: limit,
                available: self
                    .available
                    .min(limit.saturating_sub(used.unwrap_or_default())),
            },
            _ => self,
        }
    }
}

/// Refuses working sets that no tokenizer could make fit, before anything is sent or written. `flag` is the option
/// to lower.
///
/// # Errors
/// As wrong usage, when the largest cannot fit.
pub fn refuse_impossible(tokens: impl IntoIterator<Item = u64>, flag: &str) -> Result<(), Failure> {
    let Some((memory, tokens)) = Memory::of_machine().zip(tokens.into_iter().max()) else {
        return Ok(());
    };
    let need = Need {
        tokens,
        bytes: tokens.saturating_mul(LEAST_BYTES_PER_TOKEN),
    };
    match refusal(need, "at least", memory, flag) {
        Some(line) => Err(Failure::usage(anyhow::anyhow!(line))),
        None => Ok(()),
    }
}

/// Refuses a working set that was measured and does not fit, and warns of one that may not. `flag` is the option to
/// lower.
///
/// # Errors
/// When it does not fit.
pub fn check(need: Need, flag: &str) -> Result<(), Failure> {
    let Some(memory) = Memory::of_machine() else {
        return Ok(());
    };
    if let Some(line) = refusal(need, "about", memory, flag) {
        return Err(Failure::run(anyhow::anyhow!(line)));
    }
    log_lines(&warning(need, memory).into_iter().collect::<Vec<_>>());
    Ok(())
}

fn refusal(need: Need, how_sure: &str, memory: Memory, flag: &str) -> Option<String> {
    (need.bytes > memory.total).then(|| {
        format!(
            "a working set of {} tokens takes {how_sure} {} of memory here, and this machine has {}: lower {flag}",
            thousands(need.tokens),
            human_bytes(need.bytes as f64),
            human_bytes(memory.total as f64)
        )
    })
}

fn warning(need: Need, memory: Memory) -> Option<Line> {
    (need.bytes as f64 > NEAR * memory.available as f64).then(|| {
        Line::warning(format!(
            "The working set of {} tokens takes about {} of memory here, and {} are free: the run may be ended for \
             want of memory",
            thousands(need.tokens),
            human_bytes(need.bytes as f64),
            human_bytes(memory.available as f64)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str =
        "MemTotal:       24576000 kB\nMemFree:         1000000 kB\nMemAvailable:   20480000 kB\n";

    fn machine() -> Memory {
        Memory::parse(MEMINFO).unwrap()
    }

    fn need(bytes: u64) -> Need {
        Need {
            tokens: 1_000_000_000_000,
            bytes,
        }
    }

    #[test]
    fn what_the_machine_does_not_have_is_refused_and_what_is_not_free_is_warned_of() {
        let Memory { total, available } = machine();
        assert_eq!((total, available), (24_576_000 << 10, 20_480_000 << 10));
        assert_eq!(
            refusal(need(4 << 40), "about", machine(), "--working-set-size").unwrap(),
            "a working set of 1,000,000,000,000 tokens takes about 4.00 TB of memory here, and this machine has \
             23.44 GB: lower --working-set-size"
        );
        assert_eq!(refusal(need(total), "about", machine(), ""), None);
        let line = warning(need(available), machine()).unwrap().text;
        assert!(line.contains("19.53 GB are free"), "{line}");
        assert_eq!(warning(need(available / 2), machine()), None);
    }

    #[test]
    fn a_limit_on_the_group_counts_where_it_is_lower() {
        let gib = 1_u64 << 30;
        assert_eq!(machine().confined(None, None), machine());
        // Without a limit, old kernels name a number beyond any memory.
        assert_eq!(machine().confined(Some(u64::MAX >> 1), None), machine());
        assert_eq!(
            machine().confined(Some(4 * gib), Some(gib)),
            Memory {
                total: 4 * gib,
                available: 3 * gib
            }
        );
    }

    #[test]
    fn a_system_that_does_not_say_refuses_nothing() {
        assert_eq!(Memory::parse("MemTotal: much\n"), None);
    }
}
