"""How long what was verified takes memory."""

import pytest

from tests.support.tokens import token
from tests.unit.identity.test_identify import Bench


@pytest.mark.requirement("TV-49")
async def test_a_token_that_no_hit_can_count_any_more_makes_room_with_the_next() -> None:
    bench = Bench()
    for number in range(3):
        await bench.cached(token(jti=f"old-{number}"))
    bench.clock.advance(60)

    await bench.cached(token(jti="new"))

    assert len(bench.caching._entries) == 1
