//! How fast prompts are made and verified, in tokens per second on one core.
//!
//! Under the built-in tokenizer always, under a real one of 150,000 entries where `cargo xtask fetch-tokenizers` has
//! been run; what each holds in memory is told when it is loaded. `encode` stands beside `verify`: a verification should
//! cost what the tokenizer costs.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use workload::{
    ContextPlan, PieceTable, PromptPlan, RequestKey, Seed, TextTokenizer, WorkingSet, warmup_prompt,
};

/// The working set of the target: two million tokens.
const PLAN: ContextPlan = ContextPlan {
    context_size: 8000,
    chunk_size: 256,
    working_set_size: 2_000_000,
};
const RATES: [u32; 21] = [
    0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100,
];

fn tokenizers() -> Vec<(&'static str, TextTokenizer)> {
    let load = |name, bytes: &[u8]| {
        let before = resident_mib();
        let tokenizer = TextTokenizer::from_bytes(bytes).expect("a known tokenizer loads");
        if let (Some(before), Some(after)) = (before, resident_mib()) {
            println!(
                "{name}: the loaded tokenizer holds {:.0} MiB",
                after - before
            );
        }
        (name, tokenizer)
    };
    let builtin = include_bytes!("../../hub/assets/builtin-tokenizer.json");
    let mut all = vec![load("builtin", builtin)];
    let fetched = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/tokenizers/qwen3/tokenizer.json"
    );
    if let Ok(bytes) = std::fs::read(fetched) {
        all.push(load("qwen3", &bytes));
    }
    all
}

/// Memory of this process; `None` where the system does not say.
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}

fn prompts(c: &mut Criterion) {
    for (name, tokenizer) in tokenizers() {
        let mut group = c.benchmark_group("table");
        group.sample_size(10);
        group.bench_function(BenchmarkId::new("build", name), |b| {
            b.iter(|| PieceTable::build(black_box(&tokenizer)).expect("measured before"));
        });
        let table = PieceTable::build(&tokenizer).expect("the tokenizer knows English words");
        let kept = table.to_bytes();
        group.bench_function(BenchmarkId::new("from bytes", name), |b| {
            b.iter(|| PieceTable::from_bytes(black_box(&tokenizer), &kept).expect("its own"));
        });
        group.finish();

        let seed = Seed::new(1);
        let build = || {
            WorkingSet::build(&PLAN, &RATES, &table, &seed, 1, &|| false).expect("nobody cancels")
        };
        let set = build();
        let mut group = c.benchmark_group("assemble");
        group.sample_size(20);
        group.throughput(Throughput::Elements(
            set.len() as u64 * set.tokens_per_prompt(),
        ));
        group.bench_function(BenchmarkId::new("working set of 2 million", name), |b| {
            b.iter(|| black_box(build()))
        });
        group.throughput(Throughput::Elements(PLAN.context_size));
        let plan = PromptPlan::new(&table, &seed, PLAN, 0);
        let mut k = 0;
        group.bench_function(BenchmarkId::new("fresh text of 8000", name), |b| {
            b.iter(|| {
                k += 1;
                let key = RequestKey {
                    context_size: 8000,
                    cache_hit_rate: 0,
                    working_set_size: None,
                    attempt: 1,
                    phase_id: "RAMP_c2",
                    k,
                };
                black_box(plan.fresh(&key))
            });
        });
        group.finish();

        let mut group = c.benchmark_group("prove");
        group.sample_size(20);
        group.throughput(Throughput::Elements(set.tokens_per_prompt()));
        let text = warmup_prompt(&set, 0).plain_text();
        group.bench_function(BenchmarkId::new("encode", name), |b| {
            b.iter(|| black_box(tokenizer.count(&text)))
        });
        // The outcome is remembered, so every round takes a set that nobody has verified.
        let small = ContextPlan {
            working_set_size: 1,
            ..PLAN
        };
        group.bench_function(BenchmarkId::new("verify", name), |b| {
            b.iter_batched(
                || {
                    WorkingSet::build(&small, &RATES, &table, &seed, 1, &|| false)
                        .expect("nobody cancels")
                },
                |set| black_box(set.verify_one(0, &tokenizer)),
                criterion::BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, prompts);
criterion_main!(benches);
