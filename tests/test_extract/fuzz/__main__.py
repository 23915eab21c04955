"""`make fuzz`: as many files as one likes, and the figures."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.test_extract.fuzz.run import broken_file, fuzz
from tests.test_extract.fuzz.seeds import made_up, real


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=Path, help="a folder of real videos, to break some too")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--decoder", default="pyav")
    parser.add_argument("--keep", type=Path, help="only write the first file here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "seeds").mkdir()
        clips = made_up(folder / "seeds")
        others = real(arguments.clips) if arguments.clips else {}
        if arguments.keep:
            _, done, data = broken_file(arguments.first, arguments.seed, clips, others)
            arguments.keep.write_bytes(data)
            print(f"{arguments.keep}: {done}")
            return 0
        numbers = range(arguments.first, arguments.first + arguments.count)
        report = fuzz(
            folder, clips, numbers, seed=arguments.seed, real=others,
            workers=arguments.workers, decoder=arguments.decoder,
        )  # fmt: skip
    print("\n".join(report.lines()))
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
