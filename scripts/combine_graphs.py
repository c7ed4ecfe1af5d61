#!/usr/bin/env python3
"""Becomes the combine_graphs binary, so that `python combine_graphs.py ARGS` keeps working. Needs Python 3.6 or newer.

Looked for beside this file, in a bundle's bin/ (here or up to two directories above), in target/release of a
checkout, beside the running Python (where `pip install` of the wheel puts it), and on PATH; in a virtual environment
the running Python goes before PATH, elsewhere behind it. The process is replaced: arguments, stdin, stdout, signals
and the exit code are the binary's.
"""

import filecmp
import os
import signal
import sys
from pathlib import Path

NAME = "combine_graphs"


def candidates():
    here = Path(__file__).resolve().parent
    # A list, since the parents themselves cannot be sliced before Python 3.10.
    roots = [here] + list(here.parents)[:2]
    yield here / NAME
    for root in roots:
        yield root / "bin" / NAME
    for root in roots:
        yield root / "target" / "release" / NAME
    beside_python = [Path(sys.executable).parent / NAME] if sys.executable else []
    on_path = [Path(entry) / NAME for entry in os.get_exec_path() if entry]
    in_venv = sys.prefix != sys.base_prefix
    yield from beside_python + on_path if in_venv else on_path + beside_python


def become(path):
    # Python ignores these two, and what is ignored stays so in the program that it becomes.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execv(str(path), [str(path)] + sys.argv[1:])


def main():
    problem = f"{NAME} is not found beside this file, in its bundle's bin/, in target/release, beside Python or on PATH"
    for path in candidates():
        # Not os.path.exists and its like of Path: those raise where a directory may not be searched.
        if not os.path.isfile(str(path)):
            continue
        try:
            # A link or a copy of this file under the binary's name would only lead back here, for ever.
            if filecmp.cmp(str(path), __file__, shallow=False):
                continue
        except OSError:
            pass  # A program that may be run but not read is no copy of this file.
        if not os.access(str(path), os.X_OK):
            problem = f"{path} may not be run (its permissions, or a file system mounted noexec)"
            continue
        try:
            become(path)
        except OSError as error:
            problem = f"{path} cannot be started ({error.strerror}): is it built for another kind of machine?"
            break
    print(
        f"error: {problem}\nhint: put the bundle's bin/ on PATH, install the wheel, or in a checkout: cargo build --release -p {NAME}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
