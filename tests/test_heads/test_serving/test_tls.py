"""HTTPS: a certificate and its key, and what is said of files that are none."""

import datetime
import ipaddress
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from heads.commands.main import main
from heads.errors import BadSetting
from heads.serving import server
from heads.serving.tls import Tls
from tests.test_heads.test_serving.judges import bundle_in
from tests.test_heads.test_serving.served import ended
from tests.test_heads.test_serving.served_process import Served

pytest.importorskip("cryptography", reason="cryptography is missing: pip install -e '.[dev]'")
TOKEN = "a token that nobody guesses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate of this machine, its key, and the key with a passphrase."""

    certificate: Path
    key: Path
    locked: Path


Make = Callable[[str], Pair]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def made(name: str) -> Pair:
        folder = tmp_path_factory.mktemp(name)
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        built = (
            x509.CertificateBuilder()
            .subject_name(who).issuer_name(who).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(here, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        locks = {
            "key.pem": serialization.NoEncryption(),
            "locked.pem": serialization.BestAvailableEncryption(b"a passphrase"),
        }
        for place, lock in locks.items():
            (folder / place).write_bytes(key.private_bytes(pem, form, lock))
        (folder / "cert.pem").write_bytes(built.public_bytes(pem))
        return Pair(
            certificate=folder / "cert.pem", key=folder / "key.pem", locked=folder / "locked.pem"
        )

    return made


@pytest.fixture(scope="module")
def pair(make: Make) -> Pair:
    return make("here")


def test_a_video_goes_to_a_service_that_is_known_by_its_certificate(
    pair: Pair, make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    served = Served.fake(tmp_path, pair.certificate, pair.key, TELLTALE_TOKEN=TOKEN)
    assert served.url.startswith("https://")
    trusted = ssl.create_default_context(cafile=str(pair.certificate))
    who = {"Authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=served.url, verify=trusted, headers=who) as client:
        form = {"file": ("a.mp4", b"hello", "video/mp4")}
        job = client.post("/jobs", files=form).json()["id"]
        assert ended(client, job)["line"] == "it says hello"
        assert "; Secure" in client.post("/session").headers["set-cookie"]
        nobody = {"Authorization": ""}
        assert client.get("/jobs", headers=nobody).status_code == 200  # by the cookie
        client.cookies.clear()
        assert client.get("/jobs", headers=nobody).status_code == 401
    other = ssl.create_default_context(cafile=str(make("other").certificate))
    for verify, url in ((other, served.url), (trusted, served.url.replace("https", "http"))):
        with httpx2.Client(verify=verify) as stranger, pytest.raises(httpx2.TransportError):
            stranger.get(f"{url}health")
    assert served.end(signal.SIGINT) == 0
    assert capfd.readouterr().err == ""


def test_files_that_are_no_certificate_and_key_are_named(
    pair: Pair, make: Make, tmp_path: Path
) -> None:
    other, text, none = make("other"), tmp_path / "text", tmp_path / "none"
    text.write_text("hello")
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    for certificate, key, said in (
        (pair.certificate, None, "--tls-cert FILE and --tls-key FILE go together"),
        (None, pair.key, "go together; give both"),
        (none, pair.key, f"--tls-cert {none}: No such file or directory; give a file with"),
        (pair.certificate, tmp_path, f"--tls-key {tmp_path}: Is a directory"),
        (text, pair.key, f"--tls-cert {text}: there is no certificate in it"),
        (pair.certificate, text, f"--tls-key {text}: there is no private key in it"),
        (pair.certificate, tmp_path / "bytes", "it is no text, so no PEM"),
        (pair.key, pair.certificate, f"--tls-cert {pair.key}: there is no certificate in it"),
        (pair.certificate, other.key, "the key is not the certificate's"),
        (broken, pair.key, "they cannot be used"),
        (pair.certificate, pair.locked, "has a passphrase, which nobody is there to give"),
    ):
        with pytest.raises(BadSetting) as refused:
            Tls.of(certificate, key)
        assert said in str(refused.value)
    assert Tls.of(None, None) is None
    assert Tls.of(pair.certificate, pair.key) is not None


def test_a_certificate_is_no_token(
    pair: Pair, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tls = ["--tls-cert", pair.certificate, "--tls-key"]
    for options, said in (
        ([*tls, pair.key, "--host", "0.0.0.0"], "a token is needed, with TLS or without"),
        ([*tls, make("other").key], "the key is not the certificate's"),
    ):
        command = ["--bundle", bundle_in(tmp_path / "b"), "--folder", tmp_path / "served"]
        assert main(["serve", "--port", "0", *map(str, [*command, *options])]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(("host", "is_read"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_it_is_said_where_others_read_the_network(pair: Pair, host: str, is_read: bool) -> None:  # noqa: FBT001
    tls = Tls(certificate=pair.certificate, key=pair.key)
    with server.listening(host, 0, guarded=True) as listener:
        assert server.is_read_by_others(listener, None) == is_read
        assert not server.is_read_by_others(listener, tls)
