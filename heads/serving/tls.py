"""The certificate by which a service is known, and its key."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from heads.errors import BadSetting

_CERTIFICATE, _KEY = "-----BEGIN CERTIFICATE-----", "PRIVATE KEY-----"
_ENCRYPTED = "ENCRYPTED"
_MISMATCH = "KEY_VALUES_MISMATCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Two files that belong together."""

    certificate: Path
    """In PEM; those that vouch for it may follow it."""
    key: Path
    """In PEM, without a passphrase."""

    def __post_init__(self) -> None:
        _read("--tls-cert", self.certificate, _CERTIFICATE, "certificate")
        if _ENCRYPTED in _read("--tls-key", self.key, _KEY, "private key"):
            raise BadSetting(
                f"--tls-key {self.key} has a passphrase, which nobody is there to give; write it "
                f"without: openssl pkey -in {self.key} -out plain.pem"
            )
        both = f"--tls-cert {self.certificate} --tls-key {self.key}"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            if error.reason == _MISMATCH:
                raise BadSetting(
                    f"{both}: the key is not the certificate's; give the one it was made with. In "
                    f"the file of the certificate it stands first, before those that vouch for it."
                ) from error
            raise BadSetting(
                f"{both}: they cannot be used ({error.reason or error}); make them anew."
            ) from error

    @staticmethod
    def of(certificate: Path | None, key: Path | None) -> "Tls | None":
        """None where neither is given."""
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            raise BadSetting("--tls-cert FILE and --tls-key FILE go together; give both.")
        return Tls(certificate=certificate, key=key)


def _read(option: str, path: Path, sign: str, what: str) -> str:
    """A file's text, which has the sign of what it is."""
    try:
        held = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text, so no PEM"
        raise BadSetting(f"{option} {path}: {reason}; give a file with a {what} in PEM.") from error
    if sign not in held:
        raise BadSetting(f"{option} {path}: there is no {what} in it; give one in PEM.")
    return held
