#!/usr/bin/env python3
"""Becomes the working_set_tester binary, so that `python working_set_tester.py ARGS` keeps working.

Looked for beside this file, in a bundle's bin/ (here or up to two directories above), in target/release of a
checkout, and on PATH. The process is replaced: arguments, stdin, stdout, signals and the exit code are the binary's.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

NAME = "working_set_tester"


def candidates():
    here = Path(__file__).resolve().parent
    roots = [here, *here.parents[:2]]
    yield here / NAME
    for root in roots:
        yield root / "bin" / NAME
    for root in roots:
        yield root / "target" / "release" / NAME
    on_path = shutil.which(NAME)
    if on_path:
        yield Path(on_path)


def main():
    for path in candidates():
        if path.is_file() and os.access(path, os.X_OK):
            # Python ignores these two, and what is ignored stays so in the program that it becomes.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            os.execv(path, [str(path), *sys.argv[1:]])
    print(
        f"error: {NAME} is not found beside this file, in its bundle's bin/, in target/release or on PATH\n"
        f"hint: build it with: cargo build --release -p {NAME}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
