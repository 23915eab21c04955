"""How to get Telltale and its extras: one sentence, which every message uses.

Telltale is not on the package index, where `telltale` is somebody else's package. So no message
names it to pip: it is installed from its checkout.
"""

DISTRIBUTION = "telltale-video"


def how_to_install(extra: str = "") -> str:
    """What to type, for the package itself or one of its extras."""
    return f"pip install '.{f'[{extra}]' if extra else ''}' in Telltale's checkout"
