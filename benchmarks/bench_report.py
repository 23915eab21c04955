"""What a report of 100,000 scores costs: to make, to open, and to sort, filter and page.

In the browser the milliseconds are those in which the page does not answer, by its own clock.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.measure import Row, report
from heads.reporting.page import write_report
from tests.test_heads.runs import score_columns, write_scores

_CLICK = """selector => {
  const found = document.querySelector(selector), start = performance.now();
  found.click();
  return performance.now() - start;
}"""
_CHOOSE = """selector => {
  const found = document.querySelector(selector), start = performance.now();
  found.selectedIndex = found.selectedIndex ? 0 : 1;
  found.dispatchEvent(new Event("change", { bubbles: true }));
  return performance.now() - start;
}"""
_HEAD = "#scores thead th:nth-child({}) button"
_ACTIONS = {
    "sort by name, first": (_CLICK, _HEAD.format(1)),
    "sort by name, again": (_CLICK, _HEAD.format(1)),
    "sort by confidence, first": (_CLICK, _HEAD.format(3)),
    "sort by confidence, again": (_CLICK, _HEAD.format(3)),
    "filter by source": (_CHOOSE, "[data-column=source]"),
    "mistakes only": (_CHOOSE, "#show"),
    "next page": (_CLICK, "#next"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is missing: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        run = Path(folder)
        write_scores(run / "scores.parquet", score_columns(arguments.rows))
        seconds = [_timed(run) for _ in range(arguments.repeat + 1)][1:]
        page = run / "report.html"
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        rounds = [_visit(browser.new_page(), page) for _ in range(arguments.repeat)]
        browser.close()
        rows: list[Row] = [
            {"what": "make the page", "rows": arguments.rows, "ms": _ms(seconds),
             "megabytes": round(page.stat().st_size / 1e6, 1)},
            *({"what": name, "rows": arguments.rows,
               "ms": round(statistics.median(one[name] for one in rounds), 1)}
              for name in rounds[0]),
        ]  # fmt: skip
    report("report", rows, ("playwright", "pyarrow", "matplotlib"))


def _timed(run: Path) -> float:
    start = time.perf_counter()
    write_report(run)
    return time.perf_counter() - start


def _visit(page: Page, path: Path) -> dict[str, float]:
    page.goto(path.as_uri())
    timing = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    found = {"open": float(page.evaluate(timing))}
    for name, (script, selector) in _ACTIONS.items():
        found[name] = float(page.evaluate(script, selector))
    page.close()
    return found


def _ms(seconds: list[float]) -> float:
    return round(1000 * statistics.median(seconds), 1)


if __name__ == "__main__":
    main()
