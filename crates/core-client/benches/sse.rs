//! Speed of SSE decoding alone, in bytes of stream per second, for the frame shapes that servers send.

use std::hint::black_box;

use core_client::sse::SseDecoder;
use criterion::{BenchmarkId, Criterion, Throughput};

/// One chunk as a server streams it, with a text that differs.
fn event(i: usize) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1795311687,\"model\":\"tiny\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{i}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

fn decode(frames: &[&[u8]]) -> usize {
    let mut decoder = SseDecoder::new();
    let mut n_bytes = 0;
    for frame in frames {
        decoder.push(frame, |event| n_bytes += black_box(event.data).len());
    }
    n_bytes
}

fn main() {
    let events: Vec<String> = (0..1000).map(event).collect();
    let whole = events.concat().into_bytes();
    let shapes: [(&str, Vec<&[u8]>); 4] = [
        (
            "one event a frame",
            events.iter().map(|e| e.as_bytes()).collect(),
        ),
        ("16 KiB frames", whole.chunks(16 << 10).collect()),
        ("all in one frame", vec![&whole]),
        ("frames of 100 bytes", whole.chunks(100).collect()),
    ];

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("sse");
    group.throughput(Throughput::Bytes(whole.len() as u64));
    for (name, frames) in &shapes {
        group.bench_with_input(BenchmarkId::from_parameter(name), frames, |b, frames| {
            b.iter(|| decode(frames));
        });
    }
    group.finish();
    criterion.final_summary();
}
