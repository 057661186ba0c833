"""State machines of the embedded environment: what stands for the example workflows, and for all others."""

import json
from collections.abc import Mapping

_SOAK = {
    "Comment": "Stands for a deployment: waits as long as the caller asked to watch the new version.",
    "StartAt": "SoakGiven",
    "States": {
        "SoakGiven": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.soak_s", "IsPresent": True, "Next": "Soak"}],
            "Default": "Deployed",
        },
        "Soak": {"Type": "Wait", "SecondsPath": "$.soak_s", "Next": "Deployed"},
        "Deployed": {"Type": "Succeed"},
    },
}
_TRIAGE = {
    "StartAt": "Collect",
    "States": {
        "Collect": {
            "Type": "Pass",
            "Parameters": {
                "incident.$": "$.incident",
                "suspect": "payments 1.4.2, deployed 9 minutes before the first alarm",
                "runbook": "https://runbooks.acme.example/payments/rollback",
            },
            "End": True,
        }
    },
}
_QUOTE = {
    "StartAt": "Quote",
    "States": {
        "Quote": {
            "Type": "Pass",
            "Parameters": {
                "currency.$": "$.currency",
                "amount_cents.$": "$.amount_cents",
                "fee_cents": 35,
                "valid_for_s": 900,
            },
            "End": True,
        }
    },
}
_PASS = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
_BY_NAME: Mapping[str, object] = {
    "deploy-payments": _SOAK,
    "triage-incident": _TRIAGE,
    "quote-payout": _QUOTE,
}


def definition_of(name: str) -> str:
    """Return the definition (Amazon States Language) of this state machine; one that passes its input on if we know none."""
    return json.dumps(_BY_NAME.get(name, _PASS))
