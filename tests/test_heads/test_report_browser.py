"""The report in a real browser: quiet, off the network, sorted, filtered, and never fooled."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from extract.synthesis.data_set import SyntheticOptions, write_data_set
from heads.reporting.page import write_report
from heads.reporting.safe import shown
from tests.test_heads.runs import HOSTILE, score_columns, write_run, write_scores

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Scheme = Literal["light", "dark"]

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is missing: pip install -e '.[dev]'"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is missing: apt-get install chromium", allow_module_level=True)
SETTLED = 150
"""Milliseconds after typing; the page waits 120."""


class Visit:
    """A page, and all that it said and asked for."""

    def __init__(
        self, browser: "Browser", path: Path, width: int = 1280, scheme: "Scheme" = "light"
    ) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 800})
        self.page = self.context.new_page()
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_default_timeout(10_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def column(self, name: str) -> list[str]:
        """What a column of the table shows."""
        heads = self.page.locator("#scores thead button").all_inner_texts()
        cells = self.page.locator(f"#scores tbody td:nth-child({heads.index(name) + 1})")
        found: list[str] = cells.all_inner_texts()
        return found

    def choose(self, name: str) -> None:
        """Another column, which did not fit."""
        self.page.eval_on_selector(".choose", "one => one.open = true")
        self.page.get_by_label(name, exact=True).check()

    def sort(self, name: str) -> None:
        self.page.locator("#scores thead").get_by_role("button", name=name, exact=True).click()

    def find(self, words: str) -> None:
        self.page.fill("#find", words)
        self.page.wait_for_timeout(SETTLED)

    def count(self) -> str:
        found: str = self.page.inner_text("#count")
        return found


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything; the surest mistake has frames."""
    run = tmp_path_factory.mktemp("run")
    write_run(run)
    columns = score_columns(130)
    (video,) = write_data_set(run / "data", SyntheticOptions(videos=1))
    columns["path"] = [*[str(video)] * 129, "gone.mp4"]
    write_scores(run / "scores.parquet", columns)
    return write_report(run).page


@pytest.fixture
def visit(browser: "Browser", page: Path) -> Iterator[Visit]:
    opened = Visit(browser, page)
    yield opened
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [page.as_uri()]
    assert opened.page.evaluate("window.broken") is None
    opened.context.close()


def test_it_loads_in_silence_and_every_picture_is_drawn(visit: Visit) -> None:
    assert visit.page.locator("h2").count() == 9
    pictures = visit.page.locator("img")
    assert pictures.count() > 20
    visit.page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    sizes = pictures.evaluate_all("all => all.map(one => one.naturalWidth)")
    assert min(sizes) > 0


def test_the_policy_stops_what_escaping_would_have_let_through(
    browser: "Browser", page: Path, tmp_path: Path
) -> None:
    hole = "<script>window.broken = 1</script><img src='https://example.invalid/x.png'>"
    broken = tmp_path / "page.html"
    broken.write_text(page.read_text().replace("</main>", f"{hole}</main>"))
    visit = Visit(browser, broken)
    assert visit.page.evaluate("window.broken") is None
    assert sum("Content Security Policy" in said for said in visit.said) == 2
    visit.context.close()


def test_hostile_names_are_text(visit: Visit) -> None:
    assert visit.column("video")[: len(HOSTILE)] == [shown(name) for name in HOSTILE]
    visit.find("onerror=")
    assert visit.column("video") == [HOSTILE[2]]
    assert visit.page.locator("#scores img, #scores script, #scores i, .card i").count() == 0
    visit.find("cut off")
    assert visit.column("error") == ["DamagedVideo: <b>cut off</b>"] * 2


def test_it_sorts_by_numbers_and_by_names(visit: Visit) -> None:
    visit.sort("confidence, %")
    found = visit.column("confidence, %")
    assert found == sorted(found, key=float, reverse=True)
    assert visit.page.get_attribute("#scores [aria-sort]", "aria-sort") == "descending"
    visit.sort("confidence, %")
    found = visit.column("confidence, %")
    assert found == sorted(found, key=float)
    visit.page.click("#last")
    assert visit.column("confidence, %")[-2:] == ["—", "—"]  # failed ones come last either way
    visit.sort("video")
    names = visit.column("video")
    assert names == sorted(names)


def test_it_filters_and_pages(visit: Visit) -> None:
    assert visit.count() == "130 videos"
    assert visit.page.inner_text("#place") == "1 of 3"
    visit.page.click("#last")
    assert len(visit.column("video")) == 30
    visit.page.select_option("[data-column=source]", label="pika & co")
    assert visit.count() == "65 of 130 videos"
    assert set(visit.column("source")) == {"pika & co"}
    visit.page.select_option("[data-column=source]", "")
    visit.page.select_option("#show", "wrong")
    pairs = zip(visit.column("label"), visit.column("verdict"), strict=True)
    assert all(label != verdict for label, verdict in pairs)
    assert visit.page.locator("#scores .mistake").count() == len(visit.column("video"))
    visit.page.select_option("#show", "failed")
    assert visit.count() == "2 of 130 videos"
    visit.page.select_option("#show", "")
    visit.find("KLING /00012")
    assert visit.column("video") == [f"kling/00012{digit}.mp4" for digit in range(10)]
    visit.find("no such thing")
    assert visit.count() == "0 of 130 videos"
    assert visit.page.inner_text("#place") == "1 of 1"


def test_columns_names_and_rows_unfold_and_the_header_stays(visit: Visit) -> None:
    visit.choose("nearest known")
    assert visit.column("nearest known")[6] == "hfv/<i>6.mp4"
    names = visit.page.locator("#scores td:first-child button")
    names.nth(1).click()
    assert names.nth(1).get_attribute("aria-expanded") == "true"
    whole = visit.page.locator("#scores .below").inner_text()
    assert HOSTILE[1] in whole
    assert "its source" in whole
    names.nth(1).click()
    assert visit.page.locator("#scores .below").count() == 0
    names.nth(30).scroll_into_view_if_needed()
    visit.page.wait_for_timeout(SETTLED)
    header, row = (
        one.evaluate("one => one.getBoundingClientRect().top")
        for one in (visit.page.locator("#scores thead th").first, names.nth(30))
    )
    assert 0 <= header < row < 800
    visit.page.set_viewport_size({"width": 390, "height": 800})
    visit.page.wait_for_timeout(SETTLED)
    assert visit.column("video")[1] == "</scr…cript>.mp4"


def test_shown_rows_are_downloaded_with_every_column(visit: Visit, tmp_path: Path) -> None:
    visit.page.select_option("#show", "failed")
    visit.sort("video")
    visit.sort("video")
    with visit.page.expect_download() as waiting:
        visit.page.click("#download")
    waiting.value.save_as(tmp_path / "got.csv")
    with (tmp_path / "got.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["kling/000129.mp4", "kling/000128.mp4"]
    assert rows[0]["error"] == "DamagedVideo: <b>cut off</b>"
    assert rows[0]["p_real"] == rows[0]["confidence"] == ""


def test_the_gallery_has_frames_bars_and_the_nearest(visit: Visit) -> None:
    cards = visit.page.locator(".card")
    assert cards.count() == 12
    first = cards.first
    assert first.locator(".strip img").count() == 8
    assert first.locator(".wrong").count() == 1
    assert first.locator(".bars div").count() == 4
    assert "<i>" in first.locator(".nearest").inner_text()
    width = float(first.locator(".chosen .share").get_attribute("width") or 0)
    said = float(first.locator(".chosen dd").inner_text())
    assert width == pytest.approx(said, abs=0.06)


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_phones_and_both_schemes(
    browser: "Browser", page: Path, width: int, scheme: "Scheme"
) -> None:
    visit = Visit(browser, page, width, scheme)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    table = visit.page.locator("#scores").evaluate("one => one.scrollWidth")
    assert table <= visit.page.locator("#table").evaluate("one => one.clientWidth")
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(part) for part in ground.strip("rgb()").split(",")])
    assert (brightness > 200) == (scheme == "light")
    visit.page.emulate_media(media="print")
    assert visit.page.locator("#contents").is_hidden()
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_axe_finds_nothing_serious(
    browser: "Browser", page: Path, width: int, scheme: "Scheme"
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is missing: pip install -e '.[dev]'"
    )
    visit = Visit(browser, page, width, scheme)
    visit.page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    found = axe.Axe().run(visit.page).response["violations"]
    assert [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found] == []
    visit.context.close()


def test_a_hundred_thousand_rows_stay_usable(browser: "Browser", tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.parquet", score_columns(100_000))
    visit = Visit(browser, write_report(tmp_path).page)
    assert visit.count() == "100,000 videos"
    assert visit.page.locator("#scores tbody tr").count() == 50
    visit.sort("video")
    visit.choose("real, %")
    visit.sort("real, %")
    found = visit.column("real, %")
    assert found == sorted(found, key=float, reverse=True)
    visit.find("099997")
    assert visit.column("video") == ["kling/099997.mp4"]
    visit.find("")
    visit.page.click("#last")
    assert visit.page.inner_text("#place") == "2,000 of 2,000"
    assert visit.page.locator("body *").count() < 3000
    assert visit.said == []
    visit.context.close()
