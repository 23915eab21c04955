"""`--device` of commands that use one."""

from extract.commands.extract import device_names
from heads.errors import BadSetting

DEVICE_HELP = "cpu, cuda or cuda:1; auto: a GPU if there is one (default: %(default)s)"


def one_device(text: str) -> str:
    """The device that is meant; refused where it is not there."""
    if "," in text:
        raise BadSetting(f"--device {text}: this command uses one device; name one.")
    if text == "auto":
        return "cpu" if device_names(text) == ["cpu"] else "cuda"
    return device_names(text)[0]
