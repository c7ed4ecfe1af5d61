"""Runs our report programs on copies of the originals' directories and computes what they draw again with pandas.

Computed again: performance, level and comparison charts with their speed-ups, heat maps, ITL and speeds, the charts over
the working set, the charts of several runs, and the boxes of the index. Not computed again: charts over the time of a
sustained test (their minutes are), and the standard deviations of single_prompt_tester.

Usage: ours_on_theirs.py PROGRAMS REFERENCE_DATA
Formulas: per window at the peak level, tokens / recorded length; means over the windows; percentiles interpolate linearly.
"""

import html
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

PROGRAMS, DATA = Path(sys.argv[1]), Path(sys.argv[2])
TOLERANCE = 1e-9
checked = 0


def run(program, *args):
    done = subprocess.run([PROGRAMS / program, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, f"{program} {args}: {done.returncode}\n{done.stderr}"
    # One run of the comparison lacks a context, which is worth a line; nothing else is to be said of these files.
    doubts = [line for line in done.stderr.splitlines() if "warning" in line.lower() and "No data for 'run_b' at context size 1600" not in line]
    assert not doubts, doubts


def same(what, ours, theirs):
    global checked
    checked += 1
    assert math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE), f"{what}: ours {ours!r}, pandas {theirs!r}"


def stamp(path):
    return re.search(r"_(\d{8}_\d{6})\.csv$", path.name)[1]


def newest_first(directory, pattern):
    return sorted(directory.glob(pattern), key=stamp, reverse=True)


def tests_of(table, keys):
    return set(map(tuple, table[keys].drop_duplicates().values))


def newest_per_test(files, keys, context=None):
    """Rows of every test from the newest file that has it."""
    seen, parts = set(), []
    for file in files:
        table = pd.read_csv(file)
        if context is not None:
            table = table[table.context_size == context]
        new = table[[tuple(row) not in seen for row in table[keys].values]]
        seen |= tests_of(new, keys)
        parts.append(new)
    return pd.concat(parts) if parts else pd.DataFrame()


def retry_metrics(directory):
    """Section 'retry-based metrics', a few lines of pandas: one row per test."""
    summary = pd.read_csv(newest_first(directory, "summary_2*.csv")[0])
    keys = [k for k in ("context_size", "working_set_size", "cache_hit_rate") if k in summary]
    phase_files = newest_first(directory, "phase_metadata_*.csv")
    phases = newest_per_test(phase_files, keys) if phase_files else pd.DataFrame(columns=keys)
    rows = []
    for _, test in summary.drop_duplicates(keys, keep="last").iterrows():
        context, peak = int(test.context_size), test.peak_concurrency
        detail = newest_per_test(newest_first(directory, f"detailed_results_{context}_*.csv"), keys, context)
        mine = phases[(phases[keys] == test[keys]).all(axis=1)]
        windows = []
        for _, phase in mine[mine.get("concurrency_level") == peak].iterrows() if len(mine) else []:
            requests = detail[(detail[keys] == test[keys]).all(axis=1) & (detail.phase_id == phase.phase_id) & (detail.concurrency_level == peak)]
            if len(requests):
                ttft, length = requests.ttft, phase.duration
                if phase.phase_id.startswith("FIXED_") and phase.end_time - requests.finish_time.max() > 20:
                    # The newest original slept for 30 s inside the recorded length of such a window.
                    length = requests.finish_time.max() - phase.start_time
                windows.append({
                    "input": (requests.cached_tokens + requests.unique_tokens).sum() / length,
                    "output": requests.output_tokens.sum() / length,
                    "avg-ttft": ttft.mean(), "median-ttft": ttft.median(), "p95-ttft": ttft.quantile(0.95), "p99-ttft": ttft.quantile(0.99),
                })
        if windows:
            table = pd.DataFrame(windows)
            result = table.mean().to_dict()
            result |= {f"{s}-range": (table[s].min(), table[s].max()) for s in ("input", "output")}
        else:
            result = {"input": test.input_tokens_per_sec, "output": test.output_tokens_per_sec}
            result |= {f"{s}-ttft": test[f"{s}_ttft"] for s in ("avg", "median", "p95", "p99")}
        result["speed"], result["itl"] = test.avg_output_tokens, test.avg_itl * 1000
        rows.append({**{k: int(test[k]) for k in keys}, **result})
    return rows


def chart(directory, name):
    """The values of a page: {series key: {x: values}}, panel by panel."""
    page = (directory / f"{name}.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="chart-data">(.*?)</script>', page, re.S)[1])
    return [{s["key"]: {p[0]: p[1:] for p in s["points"]} for s in panel["series"]} for panel in data["panels"]]


def compare(row, panels, x):
    one = {key: points for panel in panels for key, points in panel.items()}
    for side in ("input", "output"):
        same(f"{side} at {x}", one[f"{side}-avg"][x][0], row[side])
        if f"{side}-range" in row:
            for ours, theirs in zip(one[f"{side}-range"][x], row[f"{side}-range"]):
                same(f"{side} band at {x}", ours, theirs)
    for series in ("avg-ttft", "median-ttft", "p95-ttft", "p99-ttft"):
        same(f"{series} at {x}", one[series][x][0], row[series])


def speedups(lines, name, row, rows, x, side):
    """The dashed line of a comparison: multiples of the throughput at the first point of the same line."""
    first = min(rows, key=lambda other: other[x])
    same(f"speed-up of {name}", lines[f"{name}-speedup"][float(row[x])][0], row[side] / first[side])


def cache_rate(directory):
    rows = retry_metrics(directory)
    for row in rows:
        context, rate = row["context_size"], float(row["cache_hit_rate"])
        panels = chart(directory, f"performance_vs_cache_rate_{context}")
        compare(row, panels, rate)
        same("speed", panels[3]["speed"][rate][0], row["speed"])
        metrics = chart(directory, "output_metrics_comparison")
        same("ITL", metrics[0][f"ctx-{context}"][rate][0], row["itl"])
        same("speed", metrics[1][f"ctx-{context}"][rate][0], row["speed"])
        for side in ("input", "output"):
            lines = chart(directory, f"{side}_throughput_comparison")[0]
            same(side, lines[f"ctx-{context}"][rate][0], row[side])
            speedups(lines, f"ctx-{context}", row, [r for r in rows if r["context_size"] == context], "cache_hit_rate", side)
    heat_map(directory)


def heat_map(directory):
    """Mean TTFT of the summary; drawn where there are several contexts."""
    table = pd.read_csv(newest_first(directory, "summary_2*.csv")[0]).drop_duplicates(["context_size", "cache_hit_rate"], keep="last")
    if table.context_size.nunique() < 2:
        return
    cells = chart(directory, "ttft_heatmap")[0]
    for _, row in table.iterrows():
        same("heat map", cells[f"row-{int(row.context_size):,}"][float(row.cache_hit_rate)][0], row.avg_ttft)


def levels(directory):
    """Charts over the concurrency: per exploring window, tokens / (last finish - first launch); means over the windows of a level.
    TTFT of working_set_tester is that of all requests of a level together."""
    keys = [k for k in ("context_size", "working_set_size", "cache_hit_rate") if k in pd.read_csv(newest_first(directory, "summary_2*.csv")[0])]
    phases = newest_per_test(newest_first(directory, "phase_metadata_*.csv"), keys)
    explores = phases.phase_id.str.startswith("RAMP") | (phases.phase_id.str.contains("_run") & ~phases.phase_id.str.contains("RETRY"))
    for test, windows in phases[explores].groupby(keys):
        test = dict(zip(keys, map(int, test)))
        context, rate = test["context_size"], test["cache_hit_rate"]
        kind = "ramp" if windows.phase_id.str.startswith("RAMP").any() else "fixed"
        place = f"_ws{test['working_set_size']}" if "working_set_size" in test else ""
        drawn = {key: points for panel in chart(directory, f"{kind}_ctx{context}{place}_cache{rate}") for key, points in panel.items()}
        detail = newest_per_test(newest_first(directory, f"detailed_results_{context}_*.csv"), keys, context)
        detail = detail[(detail[keys] == pd.Series(test)).all(axis=1)]
        rows, pooled = [], {}
        for _, window in windows.iterrows():
            requests = detail[detail.phase_id == window.phase_id]
            span = requests.finish_time.max() - requests.launch_time.min()
            rows.append({
                "level": float(window.concurrency_level), "input": (requests.cached_tokens + requests.unique_tokens).sum() / span,
                "output": requests.output_tokens.sum() / span, "avg-ttft": requests.ttft.mean(), "max-ttft": requests.ttft.max(),
            })
            pooled.setdefault(rows[-1]["level"], []).append(requests.ttft)
        table = pd.DataFrame(rows).groupby("level")
        wanted = table.mean().assign(**{"max-ttft": table["max-ttft"].max()})
        if "working_set_size" in test:
            wanted["avg-ttft"] = pd.Series({level: pd.concat(ttft).mean() for level, ttft in pooled.items()})
        for level, row in wanted.iterrows():
            for key, value in row.items():
                same(f"{key} at level {level}", drawn[key][level][0], value)


def working_set(directory):
    rows = retry_metrics(directory)
    summary = pd.read_csv(newest_first(directory, "summary_2*.csv")[0])
    for row in rows:
        context, size, rate = row["context_size"], float(row["working_set_size"]), row["cache_hit_rate"]
        compare(row, chart(directory, f"performance_vs_working_set_{context}_cache{rate}"), size)
        metrics = chart(directory, f"output_metrics_comparison_cache{rate}")
        same("ITL", metrics[0][f"ctx-{context}"][size][0], row["itl"])
        same("speed", metrics[1][f"ctx-{context}"][size][0], row["speed"])
        line = [r for r in rows if (r["context_size"], r["cache_hit_rate"]) == (context, rate)]
        for side in ("input", "output"):
            lines = chart(directory, f"{side}_throughput_comparison_cache{rate}")[0]
            same(side, lines[f"ctx-{context}"][size][0], row[side])
            speedups(lines, f"ctx-{context}", row, line, "working_set_size", side)
    for _, row in summary.iterrows():
        figures = (row.input_tokens_per_sec, row.output_tokens_per_sec, row.avg_ttft, row.avg_output_tokens)
        for panel, value in zip(chart(directory, f"cache_comparison_ctx{int(row.context_size)}"), figures):
            same("cache comparison", panel[f"rate-{int(row.cache_hit_rate)}"][float(row.working_set_size)][0], value)


def periods(directory):
    """A sustained run of the working-set tool: means over the periods at each size."""
    for file in directory.glob("sustained_periods_*.csv"):
        table = pd.read_csv(file)
        context, rate = int(table.context_size[0]), int(table.cache_hit_rate[0])
        panels = chart(directory, f"performance_vs_working_set_{context}")
        for size, at in table.groupby("working_set_size"):
            row = {"input": at.input_tokens_per_sec.mean(), "output": at.output_tokens_per_sec.mean()}
            row |= {f"{s}-range": (at[f"{s}_tokens_per_sec"].min(), at[f"{s}_tokens_per_sec"].max()) for s in ("input", "output")}
            row |= {f"{s}-ttft": at[f"{s}_ttft"].mean() for s in ("avg", "median", "p95", "p99")}
            compare(row, panels, float(size))
        over_time = chart(directory, next(directory.glob(f"sustained_ctx{context}_ws*_cache{rate}.html")).stem)
        minutes = (table.end_time - table.start_time[0]) / 60
        for ours, theirs in zip(sorted(over_time[0]["input"]), minutes):
            same("minutes", ours, theirs)


def summary_boxes(directory):
    """The boxes of the index, from the newest summary."""
    table = pd.read_csv(newest_first(directory, "summary_2*.csv")[0])
    page = html.unescape((directory / "index.html").read_text(encoding="utf-8"))
    # The boxes of sustained tests, further down, have names of these too.
    page = page[page.index("<h2>Performance Summary</h2>") :]
    page = page[: page.index("</section>")]
    boxes = dict(re.findall(r'<span class="name">([^<]*)</span><span class="value">([^<]*)</span>', page))
    ttft = table.avg_ttft[table.avg_ttft > 0].min()
    wanted = {
        "Total Requests": f"{int(table.total_requests.sum()):,}",
        "Peak Input Throughput": f"{int(table.input_tokens_per_sec.max()):,} tok/s",
        "Peak Output Throughput": f"{int(table.output_tokens_per_sec.max()):,} tok/s",
        "Best Avg TTFT": f"{ttft:.3f}s",
        "Context Sizes": str(table.context_size.nunique()),
        "Cache Hit Rates": str(table.cache_hit_rate.nunique()),
    }
    for name, value in wanted.items():
        assert boxes[name] == value, f"{directory.name}: {name} is {boxes[name]}, pandas says {value}"


def single_prompt(directory):
    table = pd.read_csv(next(directory.glob("single_prompt_results_*.csv")))
    page = (directory / "index.html").read_text(encoding="utf-8")
    for _, rows in table.groupby("context_size"):
        cached = rows.prompt_type.str.startswith("cached")
        speedup = rows.ttft[~cached].mean() / rows.ttft[cached].mean()
        assert f"{speedup:.2f}x" in page, f"{speedup:.2f}x"


def combined(root):
    run("combine_graphs", "--output-dirs", root / "combine_run_a", root / "combine_run_b", "--labels", "run_a", "run_b", "--output", root / "out")
    theirs = DATA / "combine_expected/summary_comparison.csv"
    assert (root / "out/summary_comparison.csv").read_bytes() == theirs.read_bytes()
    wanted = pd.read_csv(DATA / "combine_expected/retry_metrics.csv")
    place = {"run_a": "run-0", "run_b": "run-1"}
    for _, row in wanted.iterrows():
        context, rate, key = int(row.context_size), float(row.cache_hit_rate), place[row.label]
        for side in ("input", "output"):
            same(side, chart(root / "out", f"{side}_throughput_ctx{context}")[0][key][rate][0], row[f"{side}_tokens_per_sec"])
        for panel, name in zip(chart(root / "out", f"ttft_comparison_ctx{context}"), ("avg_ttft", "p95_ttft", "p99_ttft")):
            same(name, panel[key][rate][0], row[name])


def main():
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "data"
        shutil.copytree(DATA, root)
        for name in ("cache_rate_ramp", "cache_rate_fixed", "cache_rate_sustained", "combine_run_a", "combine_run_b"):
            run("regenerate_graphs", root / name)
            run("generate_index", root / name)
            cache_rate(root / name)
            if name != "cache_rate_sustained":
                levels(root / name)
            summary_boxes(root / name)
        for name, compute in (("working_set_fixed", working_set), ("working_set_sustained", periods)):
            run("regenerate_graphs", root / name, "--tool", "working_set")
            run("generate_index", root / name)
            compute(root / name)
        summary_boxes(root / "working_set_fixed")
        levels(root / "working_set_fixed")
        run("generate_index", root / "single_prompt")
        single_prompt(root / "single_prompt")
        combined(root)
    assert checked > 600, checked
    print(f"ours on theirs: {checked} figures of 8 directories and a comparison equal pandas' to {TOLERANCE:g}")


main()
