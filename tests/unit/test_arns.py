"""Resource names are read exactly: what is not refused says what stood there."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.arn import ArnInvalid, parse_assumed_role, parse_role, parse_state_machine
from tests.support.mutations import Spoiler

READERS = {
    "role": (parse_role, "arn:aws:iam::111122223333:role/team/deployer"),
    "session": (parse_assumed_role, "arn:aws:sts::111122223333:assumed-role/deployer/payments-prod.0a1b2c3d.4e5f6a7b"),
    "machine": (parse_state_machine, "arn:aws:states:eu-west-1:111122223333:stateMachine:deploy:7"),
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=300, deadline=None)
@given(random=st.randoms(use_true_random=False), changed=st.booleans(), text=st.text(max_size=80))
def test_a_name_that_was_tampered_with_is_refused_or_says_exactly_what_stood_there(
    kind: str, random: Random, changed: bool, text: str
) -> None:
    read, good = READERS[kind]
    given_text = Spoiler(random).text(good) if changed else text

    try:
        found = read(given_text)
    except ArnInvalid:
        return
    assert str(found) == given_text
    assert given_text.isascii()
    assert given_text.isprintable()
    assert " " not in given_text


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("spoil", ["\n", " ", "\0", "\u0661", "é", "/", ":"])
def test_nothing_may_follow_a_name(kind: str, spoil: str) -> None:
    read, good = READERS[kind]

    with pytest.raises(ArnInvalid):
        read(good + spoil)
