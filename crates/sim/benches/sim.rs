//! How fast the simulator's own work is: it must not show in what its clients measure.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kvcalc::BlockSize;
use sim::Profile;
use sim::model::{Engine, PromptBlocks, Request};
use sim::text::SimTokenizer;

/// Words without much repetition, as a tester's prompts have them.
fn prose(words: u32, salt: u32) -> String {
    let list = [
        "river", "stone", "mill", "window", "garden", "number", "system", "measure", "winter",
        "paper",
    ];
    let mut text = String::new();
    for i in 0..words {
        let pick = i
            .wrapping_mul(2_654_435_761)
            .wrapping_add(salt.wrapping_mul(40_503))
            >> 16;
        text.push(' ');
        text.push_str(list[pick as usize % list.len()]);
        if pick % 11 == 0 {
            text.push('.');
        }
    }
    text
}

fn tokenise(criterion: &mut Criterion) {
    let tokenizer = SimTokenizer::from_bytes(hub::builtin_tokenizer())
        .expect("the built-in tokenizer is sound");
    let text = prose(4_000, 1);
    let ids = tokenizer.encode(&text).expect("prose can be encoded");
    let mut group = criterion.benchmark_group("tokenise");
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("by remembered pieces", |b| {
        b.iter(|| tokenizer.encode(black_box(&text)))
    });
    group.bench_function("whole", |b| {
        b.iter(|| tokenizer.encode_whole(black_box(&text)))
    });
    group.bench_function("hash blocks", |b| {
        let size = BlockSize::try_new(16).expect("16 is not zero");
        b.iter(|| PromptBlocks::new(black_box(&ids), size));
    });
    group.finish();
}

fn engine(criterion: &mut Criterion) {
    let size = BlockSize::try_new(16).expect("16 is not zero");
    let prompts: Vec<_> = (0..256_u32)
        .map(|salt| {
            PromptBlocks::new(
                &(0..2_000).map(|i| salt * 10_000 + i).collect::<Vec<_>>(),
                size,
            )
        })
        .collect();
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(256 * 100));
    group.sample_size(20);
    group.bench_function("256 requests of 2,000 tokens in, 100 out", |b| {
        b.iter(|| {
            let mut engine =
                Engine::new(Profile::H100Llama8b.engine()).expect("the profile is sound");
            for prompt in &prompts {
                let request = Request {
                    prompt: prompt.clone(),
                    output_tokens: 100,
                    output_ids: None,
                };
                engine
                    .submit(Duration::ZERO, request)
                    .expect("every prompt fits");
            }
            let mut n_events = 0;
            while let Some(at) = engine.next_event_at() {
                n_events += engine.advance(at).len();
            }
            n_events
        });
    });
    group.finish();
}

criterion_group!(benches, tokenise, engine);
criterion_main!(benches);
