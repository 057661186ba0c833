"""The plain JSON answer, held against the framework's own."""

from starlette.responses import Response

from gateway.doors.documents import json_response


def test_a_plain_answer_has_all_that_the_frameworks_own_would_have() -> None:
    ours = json_response({"a": "b"})

    theirs = Response(ours.body, 200, None, "application/json")
    expected = vars(theirs) | {"raw_headers": sorted(theirs.raw_headers), "charset": theirs.charset}
    found = {name: getattr(ours, name, None) for name in expected}
    assert found | {"raw_headers": sorted(ours.raw_headers)} == expected
