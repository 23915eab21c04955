"""How a scoring command gets its features: branches, settings, and where they run."""

import argparse
from dataclasses import replace

from extract.branch import Branch, BranchRequest, for_protocol, load_branch
from extract.commands.data import limits
from extract.running.extraction import Extraction
from extract.running.interrupt import Interrupt
from extract.running.pipeline import Settings
from extract.running.run import Cluster
from extract.running.run import Run as ExtractRun
from extract.views.protocol import Protocol
from heads.bundle import Bundle
from heads.scoring.archive import Run
from heads.scoring.branches import check_branches, check_weights, find_branches

NOTICE = "telltale: finishing what has begun; run the same command again to go on."


def extract_settings(arguments: argparse.Namespace, protocol: str) -> Settings:
    """Every video has its row, so no share of failures stops the run; and features that a store
    keeps of older files are of no use."""
    return Settings(
        protocol=protocol, limits=limits(arguments), max_failed=1.0, changed="recompute"
    )


def runner(arguments: argparse.Namespace, interrupt: Interrupt, *, bar: bool = True) -> Run:
    """How a part's videos are extracted: here, or on Ray."""

    def local(extraction: Extraction) -> bool:
        summary = extraction.run(workers=arguments.workers, bar=bar, stop=lambda: interrupt.asked)
        return not summary.stopped

    def on_ray(extraction: Extraction) -> bool:
        from extract.running.cluster import run_on_ray

        cluster = Cluster(address=arguments.address)
        run = ExtractRun(
            manifest=extraction.manifest,
            store=extraction.store.place.name,
            branches=tuple(branch.request for branch in extraction.branches),
            settings=extraction.settings,
            devices=(arguments.device,),
            workers=arguments.workers,
            cluster=cluster,
        )
        return not run_on_ray(extraction, run, stop=lambda: interrupt.asked).stopped

    return on_ray if arguments.engine == "ray" else local


def load_branches(arguments: argparse.Namespace, bundle: Bundle) -> list[Branch]:
    """The bundle's branches, named by the user or found by their fingerprints."""
    check_weights(arguments.weights)
    if arguments.branch:
        asked = [replace(BranchRequest.parse(t), device=arguments.device) for t in arguments.branch]
        protocol = Protocol.parse(bundle.about.protocol)
        branches = [load_branch(for_protocol(request, protocol)) for request in asked]
        check_branches(bundle, branches)
        return branches
    places = [*arguments.weights, arguments.bundle, arguments.bundle.parent]
    return find_branches(bundle, places, arguments.device)
