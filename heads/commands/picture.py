"""`telltale score --explain`: the picture of why, and the page beside it."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from heads.scoring.explain import check_picture

if TYPE_CHECKING:
    from extract.manifest.manifest import Manifest
    from heads.bundle import Bundle
    from heads.scoring.meaning import Meaning
    from heads.scoring.timelines import Timeline


class Picture:
    """Where it goes, checked before anything is scored."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        bundle: "Bundle",
        manifest: "Manifest",
        protocol: str,
    ) -> None:
        from features_store.outputs import Product
        from heads.reporting.why import twin

        check_picture(arguments.explain)
        page = twin(arguments.explain)
        self.product = Product(
            arguments.explain, "score", overwrite=arguments.overwrite, beside=[page]
        )
        self.page = page
        self._arguments = arguments
        self._bundle = bundle
        self._manifest = manifest
        self._protocol = protocol

    def check(self, row: Mapping[str, Any]) -> None:
        """Refuse to replace a picture of something else."""
        self.product.check(self._made_from(row))

    def write(
        self, row: Mapping[str, Any], meaning: "Meaning", timeline: "Timeline | None" = None
    ) -> list[str]:
        """Of a row; what is to be said of it."""
        from dataclasses import replace

        from features_store.commit import make_directory, write_file
        from heads.reporting.why import explained_page
        from heads.scoring import explain
        from heads.scoring.captions import caption
        from heads.scoring.evidence import evidence_of, on_screen
        from heads.scoring.run import extract_settings, load_branches

        videos = tuple(v for v in self._manifest.videos if v.id == row["id"])
        words = caption(row, meaning, timeline)
        found = explain.explain(
            self._bundle,
            load_branches(self._arguments, self._bundle),
            replace(self._manifest, videos=videos),
            extract_settings(self._arguments, self._protocol),
            words,
            self.product.path.suffix[1:],
        )
        beside = evidence_of(row)
        page = explained_page(words, found, self._bundle.classes, beside)
        make_directory(self.product.path.parent)
        contents = (found.picture, page.encode(errors="replace"))
        drafts = [path.with_name(f".{path.name}.draft") for path in (self.product.path, self.page)]
        try:
            for draft, content in zip(drafts, contents, strict=True):
                write_file(draft, [content])
            self.product.publish(drafts, self._made_from(row))
        finally:
            for draft in drafts:
                draft.unlink(missing_ok=True)
        lines = [*found.lines, *on_screen(beside)]
        return [*lines, f"  picture: {self.product.path}, as a page: {self.page}"]

    def _made_from(self, row: Mapping[str, Any]) -> dict[str, object]:
        return {
            "video": [row["path"], row["size"], row["modified"]], "protocol": self._protocol,
            "bundle": self._bundle.content,
        }  # fmt: skip
