"""The search for marked secrets finds them in every spelling that it promises, and nothing where there is nothing."""

import base64
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.support.canaries import Marks, canary, leaks

SECRET = canary("hvs./+", length=48)
WAYS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "a piece": lambda text: text[10:34],
    "the last eight": lambda text: text[-8:],
    "in lines": lambda text: "\n  ".join(text[at : at + 11] for at in range(0, len(text), 11)),
    "in escaped lines": lambda text: "\\n".join(text[at : at + 11] for at in range(0, len(text), 11)),
    "URL-escaped": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 after something": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(b"xy" + text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "upper-case hex": lambda text: text.encode().hex().upper(),
}


@pytest.mark.requirement("SE-01")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_secret_is_found_in_every_spelling(way: Callable[[str], str]) -> None:
    content = f'{{"message": "got {way(SECRET)} from x"}}'.encode()

    assert leaks({"log": content}, {"it": SECRET}) != []


def test_nothing_is_found_where_nothing_is() -> None:
    digests = " ".join(str(number) * 64 for number in range(10)) + "0123456789abcdef" * 1_000

    assert leaks({"log": digests.encode()}, {"it": SECRET, "another": canary(length=300)}) == []


SIGNATURE = canary("-_", length=340)
OF_A_RUN: dict[str, Callable[[str], str]] = {
    "the other alphabet": lambda text: text.replace("-", "+").replace("_", "/"),
    "every letter escaped": lambda text: "".join(f"%{ord(letter):02X}" for letter in text),
    **{
        name: way
        for name, way in WAYS.items()
        if name != "the last eight"  # among the letters of a whole run's output there are eight like these
    },
}


@pytest.mark.requirement("SE-01")
@pytest.mark.parametrize("way", OF_A_RUN.values(), ids=OF_A_RUN)
def test_a_secret_of_a_whole_run_is_found_in_every_spelling(way: Callable[[str], str]) -> None:
    marks = Marks()
    marks.hold(SIGNATURE)

    assert marks.found("log", f'{{"message": "got {way(SIGNATURE)} from x"}}'.encode()) != []


@pytest.mark.parametrize("text", ["x" * 40, "1234567890" * 4, "what-a-person-may-write"])
def test_what_a_person_may_write_is_not_looked_for(text: str) -> None:
    marks = Marks()
    marks.hold_random(text)

    assert marks.found("log", text.encode()) == []


@pytest.mark.requirement("SE-01")
def test_a_runs_marks_are_found_by_any_long_piece_of_a_signature() -> None:
    marks, signature = Marks(), canary(length=342)
    marks.hold(signature)

    assert marks.found("log", f"token=xx{signature[3:40]}…".encode()) != []
    assert marks.found("log", f"…{signature[-30:]} ".encode()) != []
    assert marks.found("log", f"{'0123456789abcdef' * 4} {signature[:9]}".encode()) == []
