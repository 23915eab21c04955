"""VidAudit's protocol, and where ours differs from it on purpose."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity.systems.audits import vidaudit_rows
from heads.errors import BadTable
from heads.judging import vidaudit

GOLDEN = Path(__file__).parent.parent / "golden" / "vidaudit" / "audit.json"
DESCRIBED = json.loads(GOLDEN.read_text())


def test_every_published_number_is_reproduced() -> None:
    rows = list(vidaudit_rows(GOLDEN, DESCRIBED))
    assert [row.quantity for row in rows if not row.ok] == []
    assert len(rows) == 48


def test_verdicts_are_the_published_words() -> None:
    said = DESCRIBED["verdicts [logo_ood, rvr, floor] and [tpr at 0.1%, tier]"]
    for case in said:
        if None in case:
            continue
        found = vidaudit.verdict(*case[:2]) if len(case) == 3 else vidaudit.tier(case[0])
        assert found == case[-1]


def test_reals_that_are_told_apart_the_wrong_way_round_raise_no_margin() -> None:
    """Folded: an AUC of 0.35 between real sources is as bad as 0.65."""
    found = vidaudit.Audited(
        generators={}, unseen=0.70, seen=0.7, reals_apart=0.35, partial_auc=0.5, tpr_1=0,
        tpr_01=0, brier=0, calibration_error=0, probabilities={},
    )  # fmt: skip
    assert found.margin() == pytest.approx(0.05)
    assert found.margin(folded=False) == pytest.approx(0.35)


def test_reals_and_a_generator_are_needed() -> None:
    with pytest.raises(BadTable, match="real videos and one generator"):
        vidaudit.audit_score(np.zeros(4), ["a"] * 4, np.ones(4, bool))
