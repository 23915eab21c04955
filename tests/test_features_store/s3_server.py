"""An S3 server in a process of its own, spoken to over HTTP: `with s3_server() as url:`.

It is moto's. It answers one request at a time, so that nothing comes between its comparing and its
replacing, as with S3.
"""

import contextlib
import itertools
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import obstore
import obstore.store
from zarr.storage import ObjectStore

Bucket = ObjectStore[obstore.store.S3Store]

_serial = itertools.count()
_START_SECONDS = 90
_SERVER = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

app = DomainDispatcherApplication(create_backend_app)

def heedless(environ, start_response):
    for name in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"):
        environ.pop(name, None)
    return app(environ, start_response)

heeds = sys.argv[2] == "heeds"
run_simple("127.0.0.1", int(sys.argv[1]), app if heeds else heedless, threaded=False)
"""


@contextlib.contextmanager
def s3_server(*, heeds_conditions: bool = True) -> Iterator[str]:
    """The server's address, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    heeds = "heeds" if heeds_conditions else "ignores"
    command = [sys.executable, "-c", _SERVER, str(port), heeds]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, server)
        yield url
    finally:
        server.kill()
        server.wait()


def new_bucket(url: str) -> Bucket:
    name = f"bucket-{next(_serial)}"
    request = urllib.request.Request(f"{url}/{name}", method="PUT")
    urllib.request.urlopen(request).read()
    return open_bucket(url, name)


def open_bucket(url: str, name: str) -> Bucket:
    """The bucket as another process would open it, a prefix and all."""
    return ObjectStore(
        obstore.store.S3Store(
            name,
            prefix="some/store",
            endpoint=url,
            region="us-east-1",
            access_key_id="a",
            secret_access_key="b",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
            retry_config={"max_retries": 1},
        )
    )


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/moto-api/").read()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the S3 server did not start ({server.poll()})")
