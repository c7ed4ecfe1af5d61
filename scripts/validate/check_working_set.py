#!/usr/bin/env python3
"""check_working_set.py RESULT_DIR --capacity TOKENS --block TOKENS [--table FILE]

Checks a working_set_tester run at one hit rate against a server whose KV cache is known (standard library only):
  1. as long as the working set fits, the server serves every request the intended tokens from its cache, within a block;
  2. the first size that does not fit is the first where it serves less;
  3. there the median TTFT at the lowest level is at least twice that of the largest size that fits, and the input
     throughput at the level is lower.
The first turn through a set is left out: of each window, and where the set of a sustained run has grown. Requests of a
sustained run count for the size of the period in which they were answered.
"""
import argparse
import collections
import csv
import glob
import os
import statistics
import sys

ap = argparse.ArgumentParser()
ap.add_argument("dir")
ap.add_argument("--capacity", type=int, required=True, help="tokens that the server's KV cache holds, in its own words")
ap.add_argument("--block", type=int, required=True, help="cache block of the server, tokens")
ap.add_argument("--table", help="write the table to this file as well")
args = ap.parse_args()


def rows(pattern):
    found = []
    for path in sorted(glob.glob(os.path.join(args.dir, pattern))):
        with open(path, newline="", encoding="utf-8") as file:
            found += list(csv.DictReader(file))
    return found


detail = sorted(rows("detailed_results_*.csv"), key=lambda r: float(r["launch_time"]))
is_sustained = bool(glob.glob(os.path.join(args.dir, "sustained_periods_*.csv")))
if not detail:
    sys.exit("no requests in " + args.dir)

# Steady turns only: before a turn is over, the cache still holds what was there before.
turns = collections.defaultdict(list)
if is_sustained:
    by_period = {int(r["period_number"]): int(r["working_set_size"]) for r in rows("sustained_periods_*.csv")}
    for row in detail:
        number = int(row["phase_id"].removeprefix("SUSTAINED_P"))
        if number in by_period:
            turns[by_period[number], "SUSTAINED"].append(row)
else:
    for row in detail:
        turns[int(row["working_set_size"]), row["phase_id"]].append(row)
prompt = int(detail[0]["cached_tokens"]) + int(detail[0]["unique_tokens"])
sizes = collections.defaultdict(list)
for (size, _), found in turns.items():
    sizes[size] += found[size // prompt:]

failures = []
lines = [f"The server's KV cache holds {args.capacity:,} tokens (its own words).", "",
         "| working set | fits | requests | intended cached | reported cached | requests served less | median TTFT s | input tok/s |",
         "|---:|---|---:|---:|---:|---:|---:|---:|"]
measured = []
for size, found in sorted(sizes.items()):
    if not found:
        lines.append(f"| {size:,} | {'yes' if size <= args.capacity else 'no'} | fewer than one turn | | | | | |")
        if size <= args.capacity:
            failures.append(f"working set {size}: no request left to judge by")
        continue
    level = min(int(r["concurrency_level"]) for r in found)
    at = [r for r in found if int(r["concurrency_level"]) == level]
    intended = [int(r["cached_tokens"]) for r in found]
    reported = [int(r["reported_cached_tokens"]) for r in found]
    less = sum(a - b > args.block for a, b in zip(intended, reported))
    ttft = statistics.median(float(r["ttft"]) for r in at)
    span = max(float(r["finish_time"]) for r in at) - min(float(r["launch_time"]) for r in at)
    speed = sum(int(r["cached_tokens"]) + int(r["unique_tokens"]) for r in at) / span
    fits = size <= args.capacity
    measured.append((size, fits, less, ttft, speed))
    lines.append(f"| {size:,} | {'yes' if fits else 'no'} | {len(found)} | {statistics.mean(intended):.0f} | "
                 f"{statistics.mean(reported):.0f} | {less} | {ttft:.3f} | {speed:,.0f} |")

inside = [m for m in measured if m[1]]
outside = [m for m in measured if not m[1]]
if len(inside) < 2 or not outside:
    failures.append("the sizes do not lie on both sides of the capacity")
else:
    for size, _, less, _, _ in inside:
        if less:
            failures.append(f"working set {size}: {less} requests were served less than intended although it fits")
    size, _, less, ttft, speed = outside[0]
    if not less:
        failures.append(f"working set {size} does not fit and every request was served as intended")
    if ttft < 2 * inside[-1][3]:
        failures.append(f"working set {size}: median TTFT {ttft:.3f} s is not twice {inside[-1][3]:.3f} s")
    if speed >= inside[-1][4]:
        failures.append(f"working set {size}: throughput does not fall")
    lines += ["", f"First size beyond the cache: {size:,} tokens. Median TTFT {inside[-1][3]:.3f} → {ttft:.3f} s, "
                  f"input throughput {inside[-1][4]:,.0f} → {speed:,.0f} tokens/s."]

text = "\n".join(lines) + "\n"
print(text)
if args.table:
    with open(args.table, "w", encoding="utf-8") as file:
        file.write(text)
for failure in failures:
    print("FAILED:", failure)
sys.exit(bool(failures))
