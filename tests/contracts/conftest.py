"""Every branch, for the suites that all of them pass."""

import pytest
import torch

from extract.branch import Branch
from tests.contracts.branches import NETWORKS, WITHOUT, load


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Branch:
    """A branch with weights."""
    torch.manual_seed(0)
    return load(request.param)


@pytest.fixture(params=[*WITHOUT, *NETWORKS])
def branch(request: pytest.FixtureRequest) -> Branch:
    torch.manual_seed(0)
    return load(request.param)
