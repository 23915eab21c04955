"""Every error that `heads` raises on purpose.

TelltaleError
└── HeadError            anything about heads, training and scores
    ├── BadSetting       a setting that does not exist or is outside what is allowed
    ├── BadTable         features, labels or ranks that a head cannot learn from or score
    │   └── Diverged     training that broke down: its numbers are no numbers any more
    ├── WrongFeatures    features of another fingerprint than the head was trained on
    ├── BadBundle        a bundle that is missing, damaged, or of another version
    ├── BadCheckpoint    a checkpoint of fine-tuning that is damaged or of another run
    ├── TooLittleMemory  a step of fine-tuning that does not fit the device
    └── BadRun           a folder or file that results cannot be read from
"""

from features_store.errors import TelltaleError


class HeadError(TelltaleError):
    """Anything about heads, training and scores."""


class BadSetting(HeadError, ValueError):
    """A setting that does not exist or is outside what is allowed."""


class BadTable(HeadError, ValueError):
    """Features, labels or ranks that a head cannot learn from or score."""


class Diverged(BadTable):
    """Training that broke down: its numbers are no numbers any more."""


class WrongFeatures(HeadError):
    """Features of another fingerprint than the head was trained on."""


class BadBundle(HeadError):
    """A bundle that is missing, damaged, or of another version."""


class BadCheckpoint(HeadError):
    """A checkpoint of fine-tuning that is damaged or of another run."""


class TooLittleMemory(HeadError):
    """A step of fine-tuning that does not fit the device."""


class BadRun(HeadError):
    """A folder or file that results cannot be read from."""
