"""How many descriptors are open is told when there are none left, too, and afterwards."""

import asyncio
import errno
import os
import resource
from typing import NoReturn

import pytest

from gateway.cli import serving
from gateway.metrics import Metrics


@pytest.mark.requirement("F-58")
async def test_when_no_descriptor_is_left_to_count_them_with_all_are_in_use_and_later_they_are_counted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, most = Metrics(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    monkeypatch.setattr(serving, "_COUNT_S", 0.01)

    def none_left(_: str) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def told() -> float | None:
        return metrics.registry.get_sample_value("oidc_gateway_descriptors")

    with monkeypatch.context() as exhausted:
        exhausted.setattr(os, "listdir", none_left)
        serving._count_descriptors(metrics)
        meanwhile = told()

    async with asyncio.timeout(5):
        while told() == most:  # noqa: ASYNC110 - a timer signals nothing
            await asyncio.sleep(0.01)
    assert meanwhile == most
    assert 0 < (told() or 0) < most
