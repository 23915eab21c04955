"""The command: see the package."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import parity
from benchmarks.parity.checking import check


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=parity.__doc__)
    parser.add_argument("folder", type=Path)
    rows, unknown = check(parser.parse_args().folder)
    exceeded = [row for row in rows if not row.ok]
    result = {
        "checked": len(rows),
        "exceeded": len(exceeded),
        "not known": unknown,
        "rows": [asdict(row) for row in rows],
    }
    print(json.dumps(result, indent=1))
    return 2 if not rows else 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
