"""What a file says of where it is from: content credentials made for the test, and traces."""

import datetime
import importlib.util
import io
import json
import socket
from pathlib import Path

import pytest

from extract.decoding import credentials
from extract.decoding.files import Files
from extract.decoding.job import Job, Plan
from extract.decoding.worker import work
from heads.reporting.why import explained_page
from heads.scoring.captions import caption
from heads.scoring.evidence import evidence, evidence_of
from heads.scoring.explain import Explanation
from heads.scoring.versions import version
from tests.test_extract.clips import write_clip
from tests.test_heads.test_explained import ROW, meaning, why

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MANIFEST = {
    "claim_generator_info": [{"name": "Made\u202eup <b>", "version": "1.2"}],
    "assertions": [
        {
            "label": "c2pa.actions",
            "data": {
                "actions": [
                    {"action": "c2pa.created", "digitalSourceType": GENERATED,
                     "softwareAgent": "Painter"}
                ]
            },
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def signer() -> object:
    """With a certificate by an authority that nobody knows."""
    c2pa = pytest.importorskip("c2pa")
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority, person = (
        x509.Name([
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Nobody"),
        ])
        for name in ("An authority", "A signer")
    )  # fmt: skip
    texts = []
    for name, key, top in ((person, keys[0], False), (authority, keys[1], True)):
        usage = dict.fromkeys(
            ("key_encipherment", "content_commitment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        made = (
            x509.CertificateBuilder(authority, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=top, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not top, key_cert_sign=top, crl_sign=top, **usage),
                critical=True,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[1].public_key()),
                critical=False,
            )
        )
        if not top:
            protects = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            made = made.add_extension(protects, critical=False)
        signed = made.sign(keys[1], hashes.SHA256())
        texts.append(signed.public_bytes(serialization.Encoding.PEM))
    secret = keys[0].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(
            alg=b"es256", sign_cert=b"".join(texts), private_key=secret, ta_url=None
        )
    )


def signed(signer: object, source: Path, to: Path, remote: str = "") -> Path:
    import c2pa

    builder, out = c2pa.Builder(json.dumps(MANIFEST)), io.BytesIO()
    if remote:
        builder.set_no_embed()
        builder.set_remote_url(remote)
    with source.open("rb") as file:
        builder.sign(signer, "video/mp4", file, out)
    to.write_bytes(out.getvalue())
    return to


def words(path: Path) -> list[str]:
    """As a worker reads them, in this process."""
    plan = Plan(looks=(), evidence=True)
    reply = work(Files(plan), {}, Job(index=0, id="v", path=str(path)), memoryview(b""))
    assert not reply.error, reply.reason
    return list(reply.words)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "v.mp4", title="a <title>")


def test_a_signed_file_says_who_made_it_and_what_that_is_worth(
    signer: object, clip: Path, tmp_path: Path
) -> None:
    first, said, worth, *_ = words(signed(signer, clip, tmp_path / "s.mp4"))
    assert first == (
        "content credentials: written by Made\\u202eup <b> 1.2; signed by A signer of Nobody"
    )
    assert said.strip() == (
        "they say: created, made by a trained model (trainedAlgorithmicMedia) with Painter"
    )
    assert "the file is as it was signed" in worth
    assert credentials.UNCHECKED in worth


def test_a_file_that_was_changed_since_is_not_as_it_was_signed(
    signer: object, clip: Path, tmp_path: Path
) -> None:
    place = signed(signer, clip, tmp_path / "s.mp4")
    place.write_bytes(place.read_bytes().replace(b"a <title>", b"another t"))
    found = words(place)
    assert any("they do NOT fit: assertion.bmffHash.mismatch" in line for line in found)
    assert not any("as it was signed;" in line for line in found)


def test_a_certificate_that_ran_out_does_not_make_a_file_a_changed_one() -> None:
    """As the library says of a file that nobody touched, days after its certificate ended."""
    out, other = ({"code": code} for code in ("signingCredential.expired", "assertion.missing"))
    store = {
        "active_manifest": "a", "manifests": {"a": MANIFEST}, "validation_state": "Invalid",
        "validation_status": [out],
    }  # fmt: skip
    *_, worth = credentials.said(store)
    assert "the certificate that signed does not hold: signingCredential.expired" in worth
    assert "NOT fit" not in worth
    *_, worth = credentials.said({**store, "validation_status": [out, other]})
    assert "they do NOT fit: signingCredential.expired, assertion.missing" in worth


def test_broken_credentials_are_a_line_and_the_rest_is_read(
    signer: object, clip: Path, tmp_path: Path
) -> None:
    place = signed(signer, clip, tmp_path / "s.mp4")
    content = bytearray(place.read_bytes())
    start = content.index(b"jumb")
    content[start + 200 : start + 900] = bytes(each * 7 % 256 for each in range(700))
    place.write_bytes(content)
    first, *others = words(place)
    assert first.startswith("content credentials are there and cannot be read: ")
    assert others[0].startswith("file: h264 yuv420p in mov, 96x64, 25 pictures a second, 1.20 s")


def test_nothing_is_fetched(signer: object, clip: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/m.c2pa"
        first, *_ = words(signed(signer, clip, tmp_path / "s.mp4", remote=url))
        with pytest.raises(TimeoutError):
            server.accept()
    assert first == f"content credentials lie elsewhere, the file says: {url}; not fetched"


def test_traces_of_programs(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    first, facts, tags, encoder = words(clip)
    assert first == credentials.NONE
    assert facts.startswith("file: h264 yuv420p in mov, 96x64")
    assert "title=a <title>" in tags
    assert "encoder=Lavf" in tags
    assert encoder.startswith("its encoder calls itself: x264 - core ")
    other = write_clip(tmp_path / "v.mkv", codec="mpeg4", options={})
    assert words(other)[0] == "content credentials are not looked for in files of this kind"


def test_what_comes_from_is_said_of_what_it_was_made_from() -> None:
    earlier = {**MANIFEST, "signature_info": {"issuer": "Them", "time": "2026-01-02"}}
    edited = {
        "claim_generator": "Cutter",
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.edited"}] * 30}}
        ],
    }
    store = {
        "active_manifest": "b", "manifests": {"a": earlier, "b": edited},
        "validation_state": "Valid",
    }  # fmt: skip
    first, *others = credentials.said(store)
    assert first == "content credentials: written by Cutter; signed by nobody who is named"
    assert others[:2] == ["  they say: edited"] * 2
    assert "  they say: and 10 more" in others
    assert any("(1): written by Made" in one and "Them at 2026-01-02" in one for one in others)
    assert any("made by a trained model" in line for line in others)


def test_without_the_package_it_is_said(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert words(clip)[0].startswith(
        "content credentials were not looked for: pip install '.[c2pa]"
    )


def test_a_row_gets_the_evidence_of_its_very_file(clip: Path, tmp_path: Path) -> None:
    """In a process of its own, as it is for strangers' files."""
    size, modified = version(str(clip))
    row = {"path": str(clip), "size": size, "modified": modified}
    assert any(line.startswith("file: h264") for line in evidence_of(row))
    assert "another file than the one" in evidence_of({**row, "size": 1})[0]
    assert "not here any more" in evidence_of({**row, "path": "/nowhere"})[0]
    (broken := tmp_path / "broken.mp4").write_text("no video")
    assert evidence(str(broken)) == ["the file cannot be read: no video container that is known "
                                     "(Invalid data found when processing input)"]  # fmt: skip


def test_nothing_is_said_of_a_file_outside_the_root(clip: Path, tmp_path: Path) -> None:
    (link := tmp_path / "link.mp4").symlink_to(clip)
    (line,) = evidence(str(link), str(tmp_path))
    assert line.startswith("the file cannot be read: ")


def test_the_page_has_a_section_and_no_hole() -> None:
    told = caption(ROW, meaning())
    found = Explanation(picture=b"", lines=[], shares=why().shares)
    page = explained_page(told, found, why().classes, ["<script>x</script>"])
    assert "Evidence beside the networks" in page
    assert "<li>&lt;script&gt;x&lt;/script&gt;</li>" in page
    assert "Evidence" not in explained_page(told, found, why().classes)
