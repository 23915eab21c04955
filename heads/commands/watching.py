"""`telltale score --watch`: a folder whose files are scored as they come."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heads.scoring.scorer import Scorer


def watch(
    arguments: argparse.Namespace, scorer: "Scorer", protocol: str, reference: str | None
) -> int:
    """Until it is interrupted; a line for each file, or for each segment."""
    from heads.commands.asked import asked
    from heads.commands.segmented import said_of
    from heads.errors import BadSetting
    from heads.scoring.about import about, plan
    from heads.scoring.meaning import Meaning
    from heads.scoring.screen import verdict
    from heads.scoring.timelines import Timeline
    from heads.scoring.watch import Watch

    (name, *more), out = arguments.inputs, arguments.out
    if more or out is None or out.suffix != ".jsonl" or arguments.watch <= 0:
        raise BadSetting("--watch needs one folder, --out FILE.jsonl, and more than 0 seconds.")
    if arguments.groups:
        raise BadSetting(
            "--watch writes a row once, and a group may change with every file that comes; "
            "`telltale score FOLDER --groups --out FILE` finds the copies among all of them."
        )
    folder = Path(name)
    if not folder.is_dir():
        there = "is no folder" if folder.exists() else "does not exist"
        raise BadSetting(f"--watch {arguments.watch:g}: {folder} {there}.")
    made_from = plan(
        scorer, protocol, str(folder.absolute()), reference, **asked(arguments, protocol)
    )
    name = arguments.bundle.name
    meaning = Meaning.of(scorer.bundle, name)
    papers = about(scorer, made_from, name)
    watched = Watch(
        folder, out, made_from, papers, overwrite=arguments.overwrite, command=arguments.exec
    )
    if meaning.note:
        print(meaning.note, flush=True)
    for event in watched.run(arguments, scorer, protocol):
        if isinstance(event, Timeline):
            print(*said_of(event, meaning)[:1], flush=True)
        else:
            print(event if isinstance(event, str) else verdict(event, meaning), flush=True)
    print(f"{out}: {watched.count} rows; stopped. The same command goes on.")
    return 0
