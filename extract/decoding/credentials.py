"""Content credentials (C2PA) of a file, in plain words: who signed what about where it is from.

Read by the package c2pa-python, whose library parses what strangers wrote: it belongs in a decode
worker. Nothing is fetched: neither manifests that lie elsewhere nor answers about certificates.
A signature is checked against the file, and not against a list of whom to trust: so it says that
nothing was changed since, and a name that anybody may have put there.
"""

import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from extract.errors import one_line
from features_store.installing import how_to_install

PACKAGE = "c2pa"
NONE = (
    "no content credentials (that proves nothing: most files have none, and they come off easily)"
)
UNCHECKED = "whose certificate that is was not checked against a list of whom to trust"
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False}
}  # fmt: skip
_SIGNS = (
    (0, b"\xff\xd8\xff", "image/jpeg"), (0, b"\x89PNG", "image/png"), (8, b"WEBP", "image/webp"),
    (8, b"AVI ", "video/avi"), (4, b"ftyp", "video/mp4"), (0, b"GIF8", "image/gif"),
)  # fmt: skip
_SOURCES = {
    "trainedAlgorithmicMedia": "made by a trained model",
    "compositeWithTrainedAlgorithmicMedia": "made in part by a trained model",
    "compositeSynthetic": "put together, with made parts in it",
    "algorithmicMedia": "made by a program that was not trained",
    "digitalCapture": "filmed or photographed",
    "computationalCapture": "filmed or photographed, several pictures put together",
    "screenCapture": "taken from a screen",
    "humanEdits": "edited by a person",
    "digitalCreation": "made by a person with a program",
    "virtualRecording": "a recording of a made scene",
    "composite": "put together from several",
}
"""Of IPTC's words for where a picture is from, those that matter here."""
_OF_THE_SIGNER = ("signingCredential.", "timeStamp.")
"""How codes begin that are about a certificate, as of one that has run out, not about the file."""
_LONGEST, _MOST = 160, 20
Read = Callable[[int], list[str]]


def load() -> Read:
    """What reads them from an open file."""
    if importlib.util.find_spec(PACKAGE) is None:
        how = how_to_install("c2pa")
        return lambda handle: [f"content credentials were not looked for: {how}"]
    import c2pa

    context = c2pa.Context.from_dict(_SETTINGS)

    def read(handle: int) -> list[str]:
        kind = _kind(os.pread(handle, 16, 0))
        if kind is None:
            return ["content credentials are not looked for in files of this kind"]
        try:
            with (
                os.fdopen(os.dup(handle), "rb") as file,
                c2pa.Reader(kind, file, context=context) as reader,
            ):
                return said(json.loads(reader.json()))
        except c2pa.C2paError.ManifestNotFound:
            return [NONE]
        except (c2pa.C2paError, LookupError, TypeError, ValueError, AttributeError) as error:
            return [_unread(error)]

    return read


def _unread(error: Exception) -> str:
    reason = str(error)
    if reason.startswith("Remote"):
        place = reason.partition("url ")[2]
        return f"content credentials lie elsewhere, the file says: {_short(place)}; not fetched"
    return f"content credentials are there and cannot be read: {_short(reason)}"


def said(found: Mapping[str, Any]) -> list[str]:
    """A store of manifests, the active one first."""
    manifests = dict(found["manifests"])
    active = manifests.pop(found["active_manifest"])
    lines = ["content credentials: " + "; ".join(_claim(active))]
    lines += [f"  they say: {words}" for words in _actions(active)]
    for number, earlier in enumerate(list(manifests.values())[:_MOST], 1):
        lines.append(f"  of what it was made from ({number}): {'; '.join(_claim(earlier))}")
        lines += [f"    they say: {words}" for words in _actions(earlier)]
    return [*lines, f"  {_validity(found)}"]


def _claim(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Which program made it, and who signed."""
    programs = [
        " ".join(_short(each[name]) for name in ("name", "version") if each.get(name))
        for each in manifest.get("claim_generator_info") or ()
    ]
    generator = manifest.get("claim_generator")
    yield f"written by {', '.join(programs) or _short(generator or 'an unnamed program')}"
    signature = manifest.get("signature_info") or {}
    names = [_short(signature[name]) for name in ("common_name", "issuer") if signature.get(name)]
    when = f" at {_short(signature['time'])}" if signature.get("time") else ""
    yield f"signed by {' of '.join(names) or 'nobody who is named'}{when}"


def _actions(manifest: Mapping[str, Any]) -> list[str]:
    """What was done, as the manifest tells it."""
    actions = [
        action
        for assertion in manifest.get("assertions") or ()
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion["data"].get("actions") or ()
    ]
    more = [f"and {len(actions) - _MOST} more"] if len(actions) > _MOST else []
    return [_action(action) for action in actions[:_MOST]] + more


def _action(action: Mapping[str, Any]) -> str:
    kind = _short(str(action.get("action", "something")).removeprefix("c2pa."))
    source = str(action.get("digitalSourceType", "")).rpartition("/")[2]
    words = f", {_SOURCES.get(source, 'source')} ({_short(source)})" if source else ""
    agent = action.get("softwareAgent") or ""
    name = agent.get("name", "") if isinstance(agent, Mapping) else agent
    return f"{kind}{words}{f' with {_short(name)}' if name else ''}"


def _validity(found: Mapping[str, Any]) -> str:
    """Whether they fit the file, and what that is worth."""
    failures: Sequence[Mapping[str, Any]] = found.get("validation_status") or ()
    if found.get("validation_state") in ("Valid", "Trusted") and not failures:
        return f"the signature is right and the file is as it was signed; {UNCHECKED}"
    codes = dict.fromkeys(_short(failure.get("code", "unknown")) for failure in failures)
    reasons = ", ".join(list(codes)[:_MOST]) or "no reason given"
    if codes and all(code.startswith(_OF_THE_SIGNER) for code in codes):
        return (
            f"the certificate that signed does not hold: {reasons}; that does not say that the "
            f"file was changed, and nothing else does"
        )
    return (
        f"they do NOT fit: {reasons}; the file was changed after it was signed, or they are forged "
        f"or damaged"
    )


def _kind(start: bytes) -> str | None:
    """By the first bytes, never by the name."""
    return next((k for place, sign, k in _SIGNS if start[place:].startswith(sign)), None)


def _short(value: object) -> str:
    text = one_line(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
