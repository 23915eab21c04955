"""Every error that Telltale raises on purpose.

    TelltaleError
    ├── OutputExists             a result's place holds something that must not be replaced
    ├── InUse                    another process writes the same result
    └── StoreError               anything about a feature store
        ├── NotAStore            the path holds no store, or one that this version cannot read
        ├── StoreExists          something is in the way of a new store
        ├── BadInput             what was handed in has a wrong name, shape, type or value
        ├── UnknownKey           no such protocol, branch or array
        ├── AmbiguousKey         a name fits more than one branch
        ├── SpecMismatch         the branch exists already and was made differently
        ├── NotComputed          the rows asked for were never written
        ├── WriteFailed          the disk or the object store refused (full, read-only, gone)
        │   └── Overtaken        another writer was quicker; the store starts over by itself
        ├── ReadFailed           the disk or the object store did not give what it has
        └── Damaged              bytes are not what was written; nothing read from them is used

A message says what was found, what is allowed, and what to do next. Commands print it as one
line; anything that is not a TelltaleError is a bug.
"""


class TelltaleError(Exception):
    """The root: a message meant for the user, no traceback needed."""


class OutputExists(TelltaleError):
    """A result's place holds something that must not be replaced."""


class InUse(TelltaleError):
    """Another process writes the same result."""


class StoreError(TelltaleError):
    """Anything about a feature store."""


class NotAStore(StoreError):
    """The path holds no feature store, or one that this version cannot read."""


class StoreExists(StoreError):
    """Something is in the way of a new store."""


class BadInput(StoreError, ValueError):
    """A name, shape, type or value that the store does not take."""


class UnknownKey(StoreError, KeyError):
    """No such protocol, branch or array."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class AmbiguousKey(StoreError):
    """A name fits more than one branch."""


class SpecMismatch(StoreError):
    """A branch of that name exists and was made differently."""


class NotComputed(StoreError):
    """Rows were asked for that no writer has committed."""


class WriteFailed(StoreError):
    """The disk or the object store refused a write."""


class Overtaken(WriteFailed):
    """Another writer was quicker. Writers start over: users see it only where that never ends."""


class ReadFailed(StoreError):
    """The disk or the object store did not give what it has: no rights, too many files, no network.

    Unlike Damaged, this says nothing about the bytes themselves.
    """


class Damaged(StoreError):
    """Bytes are not what was written. `place` names the file or key."""

    def __init__(self, place: str, reason: str) -> None:
        self.place = place
        self.reason = reason
        super().__init__(
            f"{place}: {reason}. Run `telltale store verify` to see all damage, then "
            f"`telltale store repair` and the same extract again to heal it."
        )
