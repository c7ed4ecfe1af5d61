#!/usr/bin/env python3
"""check_cache_rate.py RESULT_DIR --block TOKENS [--table FILE]

Checks a cache_rate_tester run against the server's own words (standard library only):
  1. with one request at a time, median TTFT falls from rate to rate in every context; with more, where a request's
     first token also waits for what the server computes in the same step for others, input throughput rises instead;
  2. the server's cached tokens agree with the intended ones to within one cache block, in every request;
  3. the server's prompt tokens agree with body + question + chat template to within 1 %.
The tokens of the questions stand in run_facts.json; at 100 % a nonce stands before the question. The template is what
the server adds to every prompt: one number per run, the median difference at rates below 100.
"""
import argparse
import collections
import csv
import glob
import json
import os
import statistics
import sys

ap = argparse.ArgumentParser()
ap.add_argument("dir")
ap.add_argument("--block", type=int, required=True, help="cache block of the server, tokens")
ap.add_argument("--table", help="write the table to this file as well")
args = ap.parse_args()


def rows(pattern):
    found = []
    for path in sorted(glob.glob(os.path.join(args.dir, pattern))):
        with open(path, newline="", encoding="utf-8") as file:
            found += list(csv.DictReader(file))
    return found


detail = rows("detailed_results_*.csv")
summary = {(int(r["context_size"]), int(r["cache_hit_rate"])): r for r in rows("summary_*.csv")}
failures = []
tests = collections.defaultdict(list)
for row in detail:
    tests[int(row["context_size"]), int(row["cache_hit_rate"])].append(row)

with open(os.path.join(args.dir, "run_facts.json"), encoding="utf-8") as file:
    questions = json.load(file)["sections"]["question_tokens"]


def rest(row):
    """Tokens the server counts beside body and question: the chat template, at 100 % with the nonce."""
    k = int(row["request_id"].rsplit("_r", 1)[1])
    body = int(row["cached_tokens"]) + int(row["unique_tokens"])
    return int(row["reported_prompt_tokens"]) - body - questions[k % len(questions)]


template = statistics.median(rest(r) for r in detail if int(r["cache_hit_rate"]) < 100)
nonce = statistics.median([rest(r) - template for r in detail if int(r["cache_hit_rate"]) == 100] or [0])

lines = ["| context | rate % | requests | intended cached | reported cached | worst miss | prompt tokens off, worst | peak | avg TTFT s | P95 TTFT s | input tok/s |",
         "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
for (context, rate), found in sorted(tests.items()):
    cached = [(int(r["cached_tokens"]), int(r["reported_cached_tokens"])) for r in found]
    miss = max(abs(a - b) for a, b in cached)
    extra = template + (nonce if rate == 100 else 0)
    off = max(abs(rest(r) - extra) / int(r["reported_prompt_tokens"]) for r in found)
    if miss > args.block:
        failures.append(f"context {context}, rate {rate}: cached tokens miss by {miss}, more than a block of {args.block}")
    if off > 0.01:
        failures.append(f"context {context}, rate {rate}: prompt tokens off by {100 * off:.2f} %")
    s = summary[context, rate]
    lines.append(
        f"| {context} | {rate} | {len(found)} | {statistics.mean(a for a, _ in cached):.0f} | "
        f"{statistics.mean(b for _, b in cached):.0f} | {miss} | {100 * off:.2f} % | {s['peak_concurrency']} | "
        f"{float(s['avg_ttft']):.3f} | {float(s['p95_ttft']):.3f} | {float(s['window_input_tokens_per_sec']):.0f} |")

for context in sorted({c for c, _ in tests}):
    rates = sorted(r for c, r in tests if c == context)
    # Level by level, since the peaks differ: the lowest level that all rates measured.
    def at(level, rate):
        return [float(r["ttft"]) for r in tests[context, rate] if int(r["concurrency_level"]) == level]
    levels = [{int(r["concurrency_level"]) for r in tests[context, rate]} for rate in rates]
    shared = set.intersection(*levels)
    if not shared:
        failures.append(f"context {context}: no level was measured at every rate")
        continue
    level = min(shared)
    means = [statistics.median(at(level, rate)) for rate in rates]
    lines.append("")
    lines.append(f"Context {context}, concurrency {level}: median TTFT " +
                 ", ".join(f"{m:.3f} s at {r} %" for m, r in zip(means, rates)) + ".")
    if level > 1:
        speeds = [float(summary[context, rate]["window_input_tokens_per_sec"]) for rate in rates]
        if any(b <= a for a, b in zip(speeds, speeds[1:])):
            failures.append(f"context {context}: input throughput does not rise with the hit rate: {speeds}")
    elif any(b >= a for a, b in zip(means, means[1:])):
        failures.append(f"context {context}: TTFT does not fall with the hit rate: {means}")

lines.append("")
lines.append(f"The server adds {template:.0f} tokens of chat template to every prompt; the nonce at 100 % has {nonce:.0f}.")
text = "\n".join(lines) + "\n"
print(text)
if args.table:
    with open(args.table, "w", encoding="utf-8") as file:
        file.write(text)
for failure in failures:
    print("FAILED:", failure, file=sys.stderr)
sys.exit(1 if failures else 0)
