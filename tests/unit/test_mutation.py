"""The list of changes that no test notices says of the code what the code says."""

import re
from pathlib import Path

from tests.support.copied import ROOT
from tests.support.mutate import EXPLAINED, MODULES, Mutant, read_explained

KNOWN = read_explained(EXPLAINED.read_text("utf-8"))


def source(one: Mutant) -> tuple[str, str]:
    """Return the text of the module that is changed, and the function's name."""
    module, _, function = one.function.rpartition(".")
    return (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"), function


def test_every_explained_change_is_of_a_line_that_still_stands_in_its_function() -> None:
    for one in KNOWN:
        text, function = source(one)
        body = re.search(
            rf"^def {function}\(.*?(?=^\S|\Z)(?:\).*?(?=^\S|\Z))?", text, re.MULTILINE | re.DOTALL
        )
        assert body is not None, one
        lines = [line.strip() for line in body[0].splitlines()]
        assert [line for line in one.removed if line not in lines] == [], one


def test_every_explained_change_is_of_a_module_that_is_mutated() -> None:
    modules = {Path(one.function.rpartition(".")[0].replace(".", "/")).with_suffix(".py") for one in KNOWN}

    assert modules <= {Path(module) for module in MODULES}
    assert len(KNOWN) == len(set(KNOWN))


def test_every_explained_change_has_an_explanation() -> None:
    for part in EXPLAINED.read_text("utf-8").split("\n### ")[1:]:
        assert re.search(r"```\n\n[A-Z][^\n]{20,}", part), part
