"""The OpenAPI document is what the service does."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from starlette.applications import Starlette
from starlette.routing import Route

from heads.serving import openapi
from heads.serving.routes import application
from heads.serving.service import Service, Settings
from tests.test_heads.test_serving.judges import FakeJudge, bundle_in

TOKEN = "a token that nobody guesses"
WHO = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starlette]:
    folder = tmp_path_factory.mktemp("served")
    root = folder / "root"
    root.mkdir()
    (root / "a.mp4").write_text("a")
    bundle = bundle_in(folder / "bundle")
    asked = Settings(
        folder=folder / "served", bundle=bundle, root=root, max_bytes=10_000, token=TOKEN
    )
    with Service(asked, FakeJudge(bundle)) as service:
        yield application(service)


@pytest.fixture(scope="module")
def document(served: Starlette) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", served, headers=WHO)


def test_it_names_every_route_and_no_other(served: Starlette) -> None:
    routes = {
        (route.path, method.lower())
        for route in served.routes
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    paths = openapi.document(1, guarded=True)["paths"]
    assert routes == {
        (path, method)
        for path, found in paths.items()
        for method in found
        if method != "parameters"
    }


@pytest.mark.parametrize("mode", GenerationMode)
def test_it_keeps_its_word(document: schemathesis.BaseSchema, mode: GenerationMode) -> None:
    """Whatever is asked as the document has it, and as it does not."""
    for found in document.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue

        @settings(
            max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate], database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps(case: Case[Any]) -> None:
            case.call_and_validate(headers=WHO)

        keeps()
