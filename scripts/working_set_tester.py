#!/usr/bin/env python3
"""Becomes the working_set_tester binary, so that `python working_set_tester.py ARGS` keeps working.

Looked for in the bundle's bin/ (beside this file or above it), in target/release of a checkout, and on PATH.
"""

import os
import shutil
import sys
from pathlib import Path

NAME = Path(__file__).stem


def candidates():
    here = Path(__file__).resolve().parent
    for root in (here, here.parent):
        yield root / "bin" / NAME
    for root in (here, here.parent):
        yield root / "target" / "release" / NAME
    on_path = shutil.which(NAME)
    if on_path:
        yield Path(on_path)


def main():
    for path in candidates():
        if path.is_file() and os.access(path, os.X_OK):
            os.execv(path, [str(path), *sys.argv[1:]])
    print(
        f"error: {NAME} is not found beside this file's bundle (bin/), in target/release or on PATH\n"
        f"hint: build it with: cargo build --release -p {NAME}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
