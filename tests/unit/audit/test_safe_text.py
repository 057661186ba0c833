"""Text from outside on its way into records, logs and terminals."""

import pytest

from gateway.audit.safe_text import mask_secrets
from tests.support.hang import no_hang


@pytest.mark.parametrize("text", ["eyJ" * 400_000, "eyJ" * 400_000 + ".", "ey" + "A" * 14 + " ey" * 300_000])
def test_masking_costs_no_square_of_the_length_of_what_only_looks_like_tokens(text: str) -> None:
    with no_hang():
        mask_secrets(text)


@pytest.mark.parametrize("before", ["", " ", "Bearer%20", "x", "a.b."])
def test_a_token_is_masked_whatever_stands_before_it(before: str) -> None:
    masked = mask_secrets(f"{before}eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl end")

    assert "eyJ" not in masked
    assert "c2lnbmF0dXJl" not in masked
    assert masked.endswith(" end")
