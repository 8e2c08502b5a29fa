"""What the documents show in Python is what there is."""

import ast
import os
import re

import pytest
import watersic
from conftest import ROOT


def blocks(document):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), re.M | re.S)


@pytest.mark.parametrize("document", ["README.md", "docs/python.md"])
def test_names_exist(document):
    assert blocks(document)
    for block in blocks(document):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = {"watersic": watersic, "m": watersic.Model}.get(node.value.id)
                if owner is not None and node.attr not in ("transformers", "lm_eval"):
                    assert hasattr(owner, node.attr), node.attr


@pytest.mark.skipif(
    "WATERSIC_NIGHTLY" not in os.environ, reason="quantizes for minutes: WATERSIC_NIGHTLY=1"
)
@pytest.mark.parametrize("document", ["README.md", "docs/python.md"])
def test_first_lines_run(document, tmp_path, monkeypatch):
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(document)[0], document, "exec"), {})  # noqa: S102
    assert (tmp_path / "books.wsic").exists()
