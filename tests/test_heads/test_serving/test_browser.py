"""The service's page in a real browser, before the real command: a video is dropped and judged."""

import base64
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.test_heads.test_serving.served import eventually
from tests.test_heads.test_serving.served_process import Served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Scheme = Literal["light", "dark"]

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is missing: pip install -e '.[dev]'"
)
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is missing: pip install -e '.[dev]'"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is missing: apt-get install chromium", allow_module_level=True)
HOSTILE = '<img src=x onerror=window.broken=1> & "a" ' + "long" * 30 + ".mp4"
TOKEN = "a token that nobody guesses"
LOOKS: list[tuple[int, "Scheme"]] = [
    (390, "light"), (1280, "dark"), (1280, "light"), (390, "dark")
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser: "Browser", url: str, said: list[str], asked: list[str]) -> "Page":
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(60_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    return page


def drop(page: "Page", **files: bytes) -> None:
    """By name and content."""
    carried = page.evaluate_handle(
        """(files) => {
            const carried = new DataTransfer();
            for (const [name, text] of Object.entries(files)) {
                const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
                carried.items.add(new File([bytes], name, { type: "video/mp4" }));
            }
            return carried;
        }""",
        {name: base64.b64encode(content).decode() for name, content in files.items()},
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": carried})


def test_a_video_is_dropped_and_its_verdict_is_seen(
    browser: "Browser", small: Path, clip: Path, tmp_path: Path
) -> None:
    served = Served(
        ["heads", "serve", "--bundle", str(small), "--folder", str(tmp_path / "served"),
         "--port", "0", "--device", "cpu", "--workers", "1", "--segments", "windows=1"]
    )  # fmt: skip
    said: list[str] = []
    asked: list[str] = []
    page = opened(browser, served.url, said, asked)
    assert page.input_value("#segments") == "windows=1s"
    drop(page, **{HOSTILE: clip.read_bytes()})
    page.wait_for_selector("#links:not([hidden])")
    assert page.inner_text("#name") == HOSTILE
    assert "counts as generated" in page.inner_text("#answer .verdict-line")
    assert page.locator("#answer .timeline rect").count() > 1
    assert page.locator("#answer .moments img").count() == 8
    widths = page.locator("#answer img").evaluate_all("all => all.map((one) => one.naturalWidth)")
    assert min(widths) > 0
    assert page.locator("#list a").count() == 1
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if (width, scheme) in LOOKS[:2]:
            assert serious(page) == []
    drop(page, **{"no video.mp4": b"hello"})
    page.wait_for_selector("#state.wrong")
    assert "no video container that is known" in page.inner_text("#state")
    page.locator("#list a").last.click()
    page.wait_for_selector("#links:not([hidden])")
    page.goto(served.url.rstrip("/") + str(page.get_attribute("#page-link", "href")))
    assert page.inner_text("h1") == HOSTILE
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("window.broken") is None
    assert said == []
    assert all(url.startswith((served.url, "data:")) for url in asked)
    page.context.close()
    assert served.end(signal.SIGINT) == 0


def serious(page: "Page") -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def test_the_page_asks_for_the_token_once(browser: "Browser", tmp_path: Path) -> None:
    served = Served.fake(tmp_path, TELLTALE_TOKEN=TOKEN)
    page = opened(browser, served.url, [], [])
    page.wait_for_selector("#entry:not([hidden])")
    assert page.locator("#drop").is_hidden()
    assert serious(page) == []
    page.fill("#token", "a wrong one")
    page.click("#entry button")
    page.wait_for_selector("#refused:not(:empty)")
    page.fill("#token", TOKEN)
    page.click("#entry button")
    page.wait_for_selector("#drop", state="visible")
    drop(page, **{"a.mp4": b"hello"})
    page.wait_for_selector("#links:not([hidden])")
    page.reload()
    page.wait_for_selector("#list a")
    assert page.inner_text("#list span") == "it says hello"
    page.context.close()
    assert served.end(signal.SIGINT) == 0


def test_of_several_files_each_is_a_job(browser: "Browser", tmp_path: Path) -> None:
    served = Served.fake(tmp_path)
    said: list[str] = []
    page = opened(browser, served.url, said, [])
    drop(page, first=b"slow one", empty=b"", second=b"hello", third=b"broken")
    page.wait_for_selector("#links:not([hidden])")
    assert page.inner_text("#name") == "first"
    page.wait_for_selector("#list li:nth-child(4) >> text=it says slow one")
    expected = [
        "empty", "third: no video container that is known", "second: it says hello",
        "first: it says slow one",
    ]  # fmt: skip
    eventually(lambda: [line.partition(": The file")[0] for line in lines(page)] == expected)
    assert page.inner_text("#list .wrong").startswith("The file is empty")
    chosen = [{"name": n, "mimeType": "video/mp4", "buffer": n.encode()} for n in ("x", "y")]
    page.set_input_files("#file", chosen)  # type: ignore[arg-type]
    eventually(lambda: lines(page)[:2] == ["y: it says y", "x: it says x"])
    assert page.inner_text("#name") == "x"
    page.locator("#list a").first.click()
    eventually(lambda: page.inner_text("#name") == "y")
    assert len(said) == 1  # the browser's own word on the refused one
    page.context.close()
    assert served.end(signal.SIGINT) == 0


def lines(page: "Page") -> list[str]:
    """Of the list."""
    found = page.locator("#list li").evaluate_all(
        "all => all.map((one) => [...one.firstChild.children].map((part) => part.textContent))"
    )
    return [": ".join(parts) for parts in found]
