"""What the bench reads of a gateway's own counters."""

import pytest

from tests.bench.counters import Counters

_BEFORE = """\
# TYPE oidc_gateway_decisions_total counter
oidc_gateway_decisions_total{act="start",code="allowed",issuer="github"} 5
oidc_gateway_decisions_total{act="start",code="overloaded",issuer="github"} 2
oidc_gateway_decisions_total{act="start",code="claim_mismatch",issuer="github"} 1
# TYPE oidc_gateway_audit_write_seconds histogram
oidc_gateway_audit_write_seconds_bucket{le="+Inf"} 5
oidc_gateway_audit_write_seconds_count 5
oidc_gateway_audit_write_seconds_sum 0.010
"""
_AFTER = (
    _BEFORE.replace('"overloaded",issuer="github"} 2', '"overloaded",issuer="github"} 9')
    .replace("_count 5", "_count 15")
    .replace("_sum 0.010", "_sum 0.040")
)


def test_only_what_came_since_counts() -> None:
    came = Counters.parse(_AFTER).since(Counters.parse(_BEFORE))

    assert dict(came.refused) == {"overloaded": 7}
    assert came.durable_ms == pytest.approx(3.0)


def test_without_an_intent_nobody_waited() -> None:
    nothing = Counters.parse(_BEFORE)

    assert nothing.since(nothing).durable_ms == 0.0
