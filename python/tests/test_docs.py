"""The code of the documentation runs."""

import pytest

PAGES = ("docs/python.md",)


def blocks(text):
    """The Python code of a page, with the lines kept, so that an error names the line of the page."""
    inside, code = False, []
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            code.append("")
        else:
            code.append(line if inside else "")
    return "\n".join(code)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_runs(repository, tmp_path, monkeypatch, page, capsys):
    monkeypatch.chdir(tmp_path)
    path = repository / page
    exec(compile(blocks(path.read_text(encoding="utf-8")), str(path), "exec"), {"__name__": "docs"})
    assert 'search.iterations: found the text "many" where a whole number' in capsys.readouterr().out
