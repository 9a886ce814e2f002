"""The snippets of the documentation about files run; tests/interop runs those that need PyTorch."""

from pathlib import Path

import pytest

from conftest import FIXTURE
from snippets import needs_torch, snippets


@pytest.mark.parametrize("page", ["docs/python.md", "python/PYPI.md"])
def test_what_is_shown_of_files_runs(
    page: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.rename("checkpoint.pth")
    shown = [snippet for snippet in snippets(page) if not needs_torch(snippet)]
    assert shown
    for snippet in shown:
        exec(compile(snippet, page, "exec"), {"FIXTURE": FIXTURE})
