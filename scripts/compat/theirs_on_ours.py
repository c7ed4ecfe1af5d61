"""Reads our CSV files as the originals' programs do, with pandas: their columns first, in order, of the same types.

Usage: theirs_on_ours.py REFERENCE_DATA OUR_RESULT_DIR…
"""

import json
import sys
from pathlib import Path

import pandas as pd

DATA = Path(sys.argv[1])
#: What our files are called, and a file of the original's newest version of the same tool.
KINDS = [
    ("cache_rate", "summary_2*.csv", "combine_run_b"),
    ("cache_rate", "detailed_results_*.csv", "combine_run_b"),
    ("cache_rate", "phase_metadata_*.csv", "combine_run_b"),
    ("cache_rate", "sustained_periods_*.csv", "cache_rate_sustained"),
    ("working_set", "summary_2*.csv", "working_set_fixed"),
    ("working_set", "detailed_results_*.csv", "working_set_fixed"),
    ("working_set", "phase_metadata_*.csv", "working_set_fixed"),
    ("working_set", "sustained_periods_*.csv", "working_set_sustained"),
    ("single_prompt", "single_prompt_results_*.csv", "single_prompt"),
]


def kind_of(directory):
    if list(directory.glob("single_prompt_results_*.csv")):
        return "single_prompt"
    files = [*directory.glob("summary_2*.csv"), *directory.glob("sustained_periods_*.csv")]
    columns = pd.read_csv(files[0], nrows=0).columns
    return "working_set" if "working_set_size" in columns else "cache_rate"


def family(dtype):
    """int, float or text; pandas has several names for text."""
    return {"i": "int", "u": "int", "f": "float", "b": "bool"}.get(dtype.kind, "text")


def check(ours, theirs):
    mine, reference = pd.read_csv(ours), pd.read_csv(theirs)
    assert len(mine) > 0, f"{ours} has no row"
    expected = list(reference.columns)
    got = list(mine.columns[: len(expected)])
    assert got == expected, f"{ours}: columns begin {got}, the original's are {expected}"
    for column in expected:
        a, b = family(mine[column].dtype), family(reference[column].dtype)
        # A latency that nobody measured in a whole file is an empty column, which has no type but float.
        undefined = mine[column].isna().all() and b == "float"
        # A column of the original may hold whole numbers by chance where ours has a fraction.
        whole = b == "int" and a == "float" and column.endswith(("_time", "duration", "_per_sec"))
        assert a == b or undefined or whole, f"{ours}: {column} is {a}, the original's {b}"
    if "token_timestamps" in mine:
        for stamps, tokens, output in zip(mine.token_timestamps, mine.tokens_per_chunk, mine.output_tokens):
            stamps, tokens = json.loads(stamps), json.loads(tokens)
            assert len(stamps) == len(tokens) and sum(tokens) == output, f"{ours}: {stamps} {tokens} {output}"
            assert all(isinstance(t, float) for t in stamps) and all(isinstance(t, int) for t in tokens), ours
            assert stamps == sorted(stamps), ours


def main():
    n_files, seen = 0, set()
    for directory in map(Path, sys.argv[2:]):
        kind = kind_of(directory)
        for tool, pattern, reference in KINDS:
            theirs = sorted((DATA / reference).glob(pattern))
            for ours in sorted(directory.glob(pattern)) if tool == kind else []:
                check(ours, theirs[-1])
                n_files += 1
                seen.add((tool, pattern))
    tools = {tool for tool, _ in seen}
    missing = [key[:2] for key in KINDS if key[0] in tools and key[:2] not in seen]
    assert seen and not missing, f"no file of ours for {missing}"
    print(f"theirs on ours: {n_files} files of {len(sys.argv) - 2} directories have the originals' columns and types ({', '.join(sorted(tools))})")


main()
