"""Judges for tests that need no network: files are texts, and say what becomes of them.

    python -m tests.test_heads.test_serving.judges FOLDER [CERTIFICATE KEY]

is a whole service of such a judge, in the processes that `telltale serve` has; it prints its URL.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path

from heads.errors import BadRun
from heads.serving.messages import (
    Answer,
    Identity,
    Progress,
    Task,
    Tell,
    Unfinished,
    Unscorable,
    stamp_of,
)
from heads.serving.naming import NAME


class FakeJudge:
    """`broken` cannot be judged, `break` breaks off, `die` ends the process, `slow` takes a
    moment, `for ever` longer; its bundle is a text in a file."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self.judged: list[str] = []
        self.tasks: list[Task] = []

    def identity(self) -> Identity:
        try:
            name = (self._bundle / "bundle.json").read_text()
        except OSError as error:
            raise BadRun(f"{self._bundle} is no bundle") from error
        return Identity(key=name, bundle=f"{name} bundle", stamp=stamp_of(self._bundle))

    def judge(self, task: Task, tell: Tell) -> Answer:
        tell(Progress(step="looking", done=1, of=2))
        said = Path(task.path).read_text(errors="replace")
        self.judged.append(said)
        self.tasks.append(task)
        if said == "broken":
            raise Unscorable("no video container that is known")
        if said == "break":
            raise Unfinished("the worker was lost")
        if said == "die":
            os._exit(9)
        if said.startswith("slow"):
            time.sleep(0.05)
        if said == "for ever":
            time.sleep(3600)
        who = self.identity()
        document = {
            "line": f"it says {said}", "bundle": who.bundle, "detector": "fake",
            "fingerprints": {"a/b": who.key}, "papers": [], "rows": [{"id": NAME}],
            "timeline": None, "evidence": [], "about": {},
        }  # fmt: skip
        return Answer(key=who.key, document=document, page=f"<p>{NAME}</p>", policy="default-src x")

    def close(self) -> None:
        """Nothing runs."""


def bundle_in(folder: Path, name: str = "first") -> Path:
    """What a fake judge takes for a bundle; another of its name is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "draft"
    draft.write_text(name)
    draft.rename(folder / "bundle.json")
    return folder


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(folder: Path, *files: Path) -> None:
    from heads.serving import server
    from heads.serving.judge_process import JudgeProcess
    from heads.serving.service import Service, Settings
    from heads.serving.tls import Tls

    tls = Tls(certificate=files[0], key=files[1]) if files else None
    bundle = bundle_in(folder / "bundle")
    judge = JudgeProcess(partial(FakeJudge, bundle))
    settings = Settings(folder=folder / "served", bundle=bundle, token=server.read_token(None))
    with (
        server.listening("127.0.0.1", 0, guarded=False) as listener,
        Service(settings, judge) as service,
    ):
        server.serve(service, listener, lambda: say(server.url_of(listener, tls)), tls)


if __name__ == "__main__":
    from tests.test_heads.test_serving import (
        judges,  # what is sent to the judge's process is named by this
    )

    judges.main(*map(Path, sys.argv[1:]))
