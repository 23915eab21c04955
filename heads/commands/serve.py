"""`telltale serve`. Mounted by `heads.commands.main`."""

import argparse
import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.cutting import add_segments_option
from extract.commands.data import add_limit_options
from heads.commands.bundled import add_bundle_option, add_machine_options, add_network_options

if TYPE_CHECKING:
    from heads.serving.jobs import Job
    from heads.serving.messages import Judge

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_NEEDED = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "serve",
        help="judge videos over HTTP: a page to drop them on, and an interface for programs",
        description="Takes videos by upload or by their path under --root, judges one after "
        "another, and answers with rows as `telltale score` writes them and a page. Jobs outlive "
        "a kill. Without a token it is reached from this machine alone.",
    )
    add_bundle_option(parser)
    parser.add_argument(
        "--folder", type=Path, default=Path("telltale-serve"),
        help="the queue and its results, and uploads until they are judged (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--root", type=Path, help="a folder whose files may be named by their paths"
    )
    parser.add_argument("--host", default="127.0.0.1", help="an address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0: any (default: %(default)s)")
    parser.add_argument(
        "--token-file", type=Path,
        help="its text is what every request needs as `Authorization: Bearer TEXT` (default: the "
        "environment variable TELLTALE_TOKEN, else no token)",
    )  # fmt: skip
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE",
        help="its certificate, in PEM: it speaks HTTPS (default: HTTP)",
    )  # fmt: skip
    parser.add_argument(
        "--tls-key", type=Path, metavar="FILE", help="the certificate's key, in PEM"
    )
    parser.add_argument(
        "--max-waiting", type=int, default=100, help="jobs that wait (default: %(default)s)"
    )
    parser.add_argument(
        "--keep", type=int, default=1000, help="jobs that ended and stay known (default: "
        "%(default)s)",
    )  # fmt: skip
    add_network_options(parser)
    add_machine_options(parser)
    add_segments_option(parser)
    parser.add_argument(
        "--stress", action="store_true",
        help="score each video damaged in a few ways too, as `telltale score --stress` does",
    )  # fmt: skip
    add_limit_options(parser)
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    _check_extra()
    from extract.commands.data import limits
    from extract.decoding.cuts import Cutting
    from heads.errors import BadSetting
    from heads.serving import server
    from heads.serving.jobs import WAITING
    from heads.serving.judge_process import JudgeProcess
    from heads.serving.messages import WHOLE
    from heads.serving.service import Service, Settings
    from heads.serving.tls import Tls
    from heads.shipped.places import bundle_folder, default_bundle

    segments = str(Cutting.parse(arguments.segments)) if arguments.segments else WHOLE
    arguments.bundle = arguments.bundle or default_bundle()
    token = server.read_token(arguments.token_file)
    tls = Tls.of(arguments.tls_cert, arguments.tls_key)
    settings = Settings(
        folder=arguments.folder, bundle=bundle_folder(arguments.bundle), root=arguments.root,
        token=token, segments=segments, hosts=frozenset({arguments.host}),
        max_bytes=limits(arguments).max_bytes, max_waiting=arguments.max_waiting,
        keep=arguments.keep,
    )  # fmt: skip
    if not (settings.bundle / "bundle.json").exists():
        raise BadSetting(f"--bundle {arguments.bundle}: no bundle is there.")
    with server.listening(arguments.host, arguments.port, guarded=token is not None) as listener:
        judge = JudgeProcess(functools.partial(judge_of, arguments, arguments.folder / "work"))
        with Service(settings, judge, _say) as service:
            url, name = server.url_of(listener, tls), settings.bundle.name
            line = f"Telltale is at {url}, judging by {name}; ctrl-C ends it."
            if server.is_read_by_others(listener, tls):
                line += "\nWhoever reads the network reads token and videos: see --tls-cert."
            server.serve(service, listener, lambda: print(line, flush=True), tls)
            counts = service.queue.counts()
    left = counts[WAITING] + counts["running"]
    print(f"stopped; {left} jobs wait for the same command." if left else "stopped; no job waits.")
    return 0


def judge_of(arguments: argparse.Namespace, work: Path) -> "Judge":
    """Made in the process that judges, in an empty folder."""
    import shutil

    from features_store.commit import make_directory
    from heads.commands.device import one_device
    from heads.serving.judge import BundleJudge

    arguments.device = one_device(arguments.device)
    shutil.rmtree(work, ignore_errors=True)
    make_directory(work)
    return BundleJudge(arguments, work)


def _say(job: "Job") -> None:
    """A line for each job that ended."""
    from extract.errors import one_line

    said = job.line or f"cannot be judged: {job.reason}"
    print(one_line(f"{job.name}: {said}"), flush=True)


def _check_extra() -> None:
    from features_store.installing import how_to_install
    from heads.errors import BadSetting

    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise BadSetting(
            f"telltale serve needs {', '.join(missing)}, which is not installed: "
            f"{how_to_install('serve')}."
        )
