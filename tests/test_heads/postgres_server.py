"""A PostgreSQL server of one's own: `with PostgresServer.running() as server:`.

It is Debian's (`apt-get install postgresql`), or whichever is on PATH. It refuses to run as root,
so root starts it as another user.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_USERS = ("postgres", "nobody")
LACKING = "no PostgreSQL here (apt-get install postgresql): studies on a server are not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A server that listens on a socket in its folder."""

    folder: Path
    programs: Path
    start_as: Sequence[str]

    @staticmethod
    @contextmanager
    def running() -> Iterator["PostgresServer"]:
        """Started, and gone with all its data at the end."""
        programs, start_as = programs_folder(), _as_another()
        if programs is None or start_as is None:
            raise FileNotFoundError(LACKING)
        folder = Path(tempfile.mkdtemp(prefix="telltale-pg-", dir="/tmp"))  # a short socket name
        server = PostgresServer(folder=folder, programs=programs, start_as=start_as)
        try:
            if start_as:
                shutil.chown(folder, *_user_and_group())
            server.do("initdb", "--no-sync", "--auth=trust", "--username=telltale", "--pgdata=data")
            server.start()
            yield server
            server.stop("immediate")
        finally:
            shutil.rmtree(folder)

    @property
    def url(self) -> str:
        return f"postgresql://telltale@/postgres?host={self.folder}"

    def start(self) -> None:
        settings = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c jit=off"
        self.do("pg_ctl", "start", "-D", "data", "-w", "-l", "log", "-o", settings)

    def stop(self, mode: str) -> None:
        """`immediate`: as if the power failed; what was committed has to be there again."""
        self.do("pg_ctl", "stop", "-D", "data", "-w", "-m", mode)

    def do(self, program: str, *arguments: str) -> None:
        """Run one of its programs in its folder."""
        command = [*self.start_as, str(self.programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"


def programs_folder() -> Path | None:
    """The newest version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    on_path = shutil.which("postgres")
    folders = [*reversed(found), *([Path(on_path).resolve().parent] if on_path else [])]
    return next((f for f in folders if all((f / name).is_file() for name in _PROGRAMS)), None)


def _as_another() -> list[str] | None:
    """What a command begins with; None where root has nobody to be."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        return None
    user, group = _user_and_group()
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


def _user_and_group() -> tuple[int, int]:
    import pwd

    for name in _USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise FileNotFoundError(f"none of the users {', '.join(_USERS)} is here")
