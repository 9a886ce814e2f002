"""The Python that the documentation shows."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def snippets(page: str) -> list[str]:
    """The ```python blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def needs_torch(snippet: str) -> bool:
    """Whether it uses a module of ckpt_regen that imports PyTorch."""
    return re.search(r"ckpt_regen\.(torch|lightning|transformers)", snippet) is not None
