"""The shipped deployment says the same as the example configuration: issuers, clients, roles, trust, machines, files."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.doors.draining import Draining
from gateway.doors.health import health_routes
from gateway.metrics import Metrics
from gateway.settings.setting import OTHER_VARIABLES, PREFIX, SETTINGS
from tests.support.sealed import USER

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
TERRAFORM = ROOT / "deploy" / "terraform"
KUBERNETES = ROOT / "deploy" / "kubernetes"
OPENAPI = ROOT / "gateway" / "doors" / "openapi.json"

GITHUB = "https://token.actions.githubusercontent.com"
# What IAM shows a trust policy of a token (beyond `aud`), for issuers with condition keys of their own and for others.
VISIBLE = {
    "github-actions": {
        "sub",
        "repository",
        "repository_id",
        "ref",
        "environment",
        "job_workflow_ref",
        "workflow",
        "actor",
        "actor_id",
        "enterprise_id",
    },
}
VISIBLE_ANYWHERE = {"sub"}
# The example of a role whose trust policy lags behind our rule, so that AWS refuses what we allow.
DRIFTED = "payments-migrator"
ACTIONS = {
    ("start", "standard"): {
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
        "states:GetExecutionHistory",
    },
    ("start", "express-sync"): {"states:StartSyncExecution"},
    ("view", "standard"): {"states:DescribeExecution", "states:GetExecutionHistory"},
    ("stop", "standard"): {"states:DescribeExecution", "states:StopExecution"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """One grant of the example: which rule gives it, for whom, with what."""

    rule: str
    issuer: str
    claims: dict[str, Any]
    verb: str
    workflow: str | None
    target: str


def load(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
    assert isinstance(document, dict)
    return document


GATEWAY = load(CONFIG / "gateway.yaml")
TARGETS = load(CONFIG / "targets.yaml")


def powers() -> Iterator[Power]:
    for path in sorted(CONFIG.glob("mappings/*/*.yaml")):
        for rule in load(path).get("rules", []):
            for grant in rule["grants"]:
                verb = next(iter(grant))
                obtained = verb == "obtain"
                yield Power(
                    rule=f"{path.parent.name}.{rule['name']}",
                    issuer=rule["issuer"],
                    claims=rule["claims"],
                    verb=verb,
                    workflow=None if obtained else grant[verb],
                    target=grant["obtain"] if obtained else grant["as"],
                )


def powers_of_iam_roles() -> Iterator[Power]:
    """Those that AWS itself grants for the caller's token; behind Vault its engine's role stands in between."""
    return (power for power in powers() if power.target in TARGETS["roles"])


POWERS = [
    pytest.param(power, id=f"{power.rule}-{power.verb}-{power.target}") for power in powers_of_iam_roles()
]


def issuer_url(name: str) -> str:
    return str(GATEWAY["issuers"][name].get("issuer", GITHUB))


def audiences_seen_by_iam(name: str) -> set[str]:
    entry = GATEWAY["issuers"][name]
    return {*entry.get("audiences", []), *entry.get("clients", [])}


def role_name(target: str) -> str:
    arn: str = TARGETS["roles"][target]["arn"]
    return arn.partition(":role/")[2]


def trust(role: str) -> dict[str, Any]:
    [statement] = load(TERRAFORM / "trust" / f"{role}.json")["Statement"]
    assert isinstance(statement, dict)
    return statement


def trusted_values(target: str, issuer: str) -> dict[str, set[str]]:
    """Return what a role's trust policy demands of tokens of this issuer, by claim."""
    prefix = issuer_url(issuer).removeprefix("https://") + ":"
    conditions = trust(role_name(target))["Condition"]["StringEquals"]
    assert all(key.startswith(prefix) for key in conditions)
    return {key.removeprefix(prefix): as_set(value) for key, value in conditions.items()}


def as_set(value: str | list[str]) -> set[str]:
    return {value} if isinstance(value, str) else set(value)


def wanted_values(condition: Any) -> set[str] | None:
    """Return the texts that satisfy a condition which IAM could express too, or None."""
    match condition:
        case str():
            return {condition}
        case {"any_of": list(values)}:
            return set(values)
        case _:
            return None


def identity_providers() -> dict[str, set[str]]:
    """Return client ids by URL, as Terraform creates them."""
    text = (TERRAFORM / "providers.tf").read_text()
    blocks = re.findall(r'url += "([^"]+)".*?client_id_list = \[([^\]]*)\]', text, re.DOTALL)
    return {url: set(re.findall(r'"([^"]+)"', ids)) for url, ids in blocks}


def test_iam_knows_exactly_the_issuers_of_the_configuration() -> None:
    issuers = {issuer_url(name) for name in GATEWAY["issuers"]}

    assert set(identity_providers()) == issuers


@pytest.mark.parametrize("name", GATEWAY["issuers"])
@pytest.mark.requirement("TV-26")
def test_iam_accepts_the_clients_we_accept_or_else_our_audiences(name: str) -> None:
    entry = GATEWAY["issuers"][name]

    accepted = identity_providers()[issuer_url(name)]

    # STS compares `azp` where a token has one, and `aud` only where it has none.
    assert accepted == set(entry.get("clients") or entry["audiences"])


def test_every_role_has_a_trust_policy_and_permissions_and_nothing_else_has() -> None:
    roles = {role_name(target) for target in TARGETS["roles"]}

    assert {path.stem for path in TERRAFORM.glob("trust/*.json")} == roles
    assert {path.stem for path in TERRAFORM.glob("permissions/*.json")} == roles


@pytest.mark.parametrize("target", TARGETS["roles"])
def test_a_role_gives_sessions_as_long_as_its_target_promises(target: str) -> None:
    longest_s = int(
        re.findall(
            r'"max_session_duration_s".*?default += (\d+)',
            (TERRAFORM / "variables.tf").read_text(),
            re.DOTALL,
        )[0]
    )
    number, unit = re.fullmatch(r"(\d+)([smh])", TARGETS["roles"][target]["duration"]).groups()  # type: ignore[union-attr]

    assert int(number) * {"s": 1, "m": 60, "h": 3600}[unit] <= longest_s


@pytest.mark.parametrize("power", POWERS)
def test_a_role_trusts_the_issuer_of_the_rule_that_grants_it_and_only_our_audience(power: Power) -> None:
    statement = trust(role_name(power.target))
    account = TARGETS["roles"][power.target]["arn"].split(":")[4]

    audiences = trusted_values(power.target, power.issuer)["aud"]

    assert statement["Effect"] == "Allow"
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {
        "Federated": f"arn:aws:iam::{account}:oidc-provider/{issuer_url(power.issuer).removeprefix('https://')}"
    }
    assert audiences <= audiences_seen_by_iam(power.issuer)


@pytest.mark.parametrize("power", POWERS)
def test_a_trust_policy_binds_every_claim_of_the_rule_that_aws_can_see(power: Power) -> None:
    preset = GATEWAY["issuers"][power.issuer]["preset"]
    visible = VISIBLE.get(preset, VISIBLE_ANYWHERE)
    wanted = {
        claim: wanted_values(condition) for claim, condition in power.claims.items() if claim in visible
    }

    bound = trusted_values(power.target, power.issuer)
    differing = {claim for claim, values in wanted.items() if bound.get(claim) != values}

    assert differing == ({"repository", "repository_id"} if role_name(power.target) == DRIFTED else set())


def test_github_roles_name_the_subject_of_each_environment_they_admit() -> None:
    for power in (power for power in powers_of_iam_roles() if power.issuer == "github"):
        bound = trusted_values(power.target, power.issuer)
        [repository] = bound["repository"]

        assert bound["sub"] == {f"repo:{repository}:environment:{name}" for name in bound["environment"]}


@pytest.mark.parametrize("power", [param for param in POWERS if "obtain" not in str(param.id)])
def test_a_role_may_do_what_its_grants_need_on_exactly_that_machine(power: Power) -> None:
    workflow = TARGETS["workflows"][power.workflow]
    machine: str = workflow["state_machine"]
    reachable = {machine, machine.replace(":stateMachine:", ":execution:") + ":*"}

    statements = load(TERRAFORM / "permissions" / f"{role_name(power.target)}.json")["Statement"]
    ours = [
        statement
        for statement in statements
        if any(action.startswith("states:") for action in statement["Action"])
    ]
    actions = {action for statement in ours for action in statement["Action"]}

    assert {statement["Resource"] for statement in ours} <= reachable
    assert ACTIONS[power.verb, workflow["type"]] <= actions


@pytest.mark.parametrize("folder", ["trust", "permissions"])
def test_no_shipped_iam_policy_holds_a_wildcard_where_it_would_widen_access(folder: str) -> None:
    for path in TERRAFORM.glob(f"{folder}/*.json"):
        text = path.read_text()

        assert "StringLike" not in text, path.name
        assert "ForAllValues" not in text, path.name
        assert not re.search(r'"(\w+:)?\*"', text), path.name


def test_terraform_creates_the_machine_of_the_example_in_its_region_and_account() -> None:
    arn = TARGETS["workflows"]["deploy-payments"]["state_machine"].split(":")
    variables = (TERRAFORM / "variables.tf").read_text()
    machine = (TERRAFORM / "state_machine.tf").read_text()

    assert f'default     = "{arn[3]}"' in variables
    assert f'default     = "{arn[4]}"' in variables
    assert f'name       = "{arn[6]}"' in machine


def test_kubernetes_mounts_every_file_of_the_configuration_at_its_own_path() -> None:
    files = {str(path.relative_to(CONFIG)) for path in CONFIG.rglob("*") if used_by_serve(path)}
    [generated] = load(KUBERNETES / "kustomization.yaml")["configMapGenerator"]
    sources = dict(entry.split("=") for entry in generated["files"])
    pods, *_ = yaml.safe_load_all((KUBERNETES / "gateway.yaml").read_text())
    items = {
        item["key"]: item["path"]
        for item in pods["spec"]["template"]["spec"]["volumes"][0]["configMap"]["items"]
    }

    assert set(items.values()) == files
    assert sources == {key: f"../../config/{path}" for key, path in items.items()}


def used_by_serve(path: Path) -> bool:
    # Fixtures and the editors' schemas (NAME.v1.json) stand beside the files; the running gateway reads neither.
    return path.is_file() and not path.name.endswith((".test.yaml", ".v1.json"))


@pytest.mark.requirement("CO-01", "CO-02", "CO-03")
def test_containers_run_as_one_user_who_is_not_root_and_may_write_nothing_but_records() -> None:
    pods, *_ = yaml.safe_load_all((KUBERNETES / "gateway.yaml").read_text())
    pod = pods["spec"]["template"]["spec"]
    image = (ROOT / "deploy" / "Containerfile").read_text()

    user = re.findall(r"^USER (\d+):", image, re.MULTILINE)
    writable = {mount["name"] for mount in pod["containers"][0]["volumeMounts"] if not mount.get("readOnly")}

    assert user == [str(pod["securityContext"]["runAsUser"])]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert writable == {"audit", "tmp"}


@pytest.mark.requirement("CO-01")
def test_a_container_has_no_capability_gains_none_and_calls_the_kernel_only_as_containers_do() -> None:
    pods, *_ = yaml.safe_load_all((KUBERNETES / "gateway.yaml").read_text())
    pod = pods["spec"]["template"]["spec"]
    [container] = pod["containers"]

    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == USER
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert load(KUBERNETES / "namespace.yaml")["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted"
    }


@pytest.mark.requirement("CO-01", "CO-02")
def test_the_image_is_run_by_hand_with_the_same_restrictions_as_in_the_cluster() -> None:
    page = (ROOT / "deploy" / "README.md").read_text()
    [command] = re.findall(r"^podman run ((?:.*\\\n)*.*)$", page, re.MULTILINE)

    flags = set(command.split())

    assert {"--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--tmpfs"} <= flags
    assert ':ro"' in command
    assert "--privileged" not in command


@pytest.mark.requirement("CO-02")
def test_temporary_files_are_in_memory_and_bounded_and_files_of_the_policy_are_nobodys_to_write() -> None:
    pods, *_ = yaml.safe_load_all((KUBERNETES / "gateway.yaml").read_text())
    pod = pods["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}

    assert volumes["tmp"]["emptyDir"].keys() == {"medium", "sizeLimit"}
    assert volumes["tmp"]["emptyDir"]["medium"] == "Memory"
    assert mounts["/etc/oidc-gateway"]["readOnly"] is True
    # YAML reads 0444 as octal.
    assert volumes["files"]["configMap"]["defaultMode"] & 0o222 == 0


@pytest.mark.requirement("CO-01", "CO-02", "CO-04")
def test_the_image_has_one_unprivileged_user_private_records_and_no_way_to_the_metadata_service() -> None:
    image = (ROOT / "deploy" / "Containerfile").read_text()
    final = image.rpartition("\nFROM ")[2]

    assert f"--uid {USER}" in final
    assert re.search(rf"^USER {USER}:{USER}$", final, re.MULTILINE)
    assert f"--owner={USER} --group={USER} --mode=0700 /var/lib/oidc-gateway" in final
    assert "AWS_EC2_METADATA_DISABLED=true" in final
    assert "AWS_ACCESS_KEY_ID" not in image


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "10.0.0.1"]
)
@pytest.mark.requirement("CO-05")
def test_pods_reach_no_metadata_service_and_no_private_network(address: str) -> None:
    rules = load(KUBERNETES / "network.yaml")["spec"]["egress"]
    blocks = [to["ipBlock"] for rule in rules for to in rule["to"] if "ipBlock" in to]

    reachable = [
        block
        for block in blocks
        if ip_address(address) in ip_network(block["cidr"])
        and not any(ip_address(address) in ip_network(left_out) for left_out in block["except"])
    ]

    assert len(blocks) == 1
    assert reachable == []


@pytest.mark.requirement("CO-05")
def test_whom_the_gateway_calls_is_listed_and_the_cluster_lets_it_call_nobody_else() -> None:
    page = (ROOT / "deploy" / "README.md").read_text()
    listed = page.partition("### What it connects to")[2].partition("\n## ")[0]
    ports = {
        port["port"] for rule in load(KUBERNETES / "network.yaml")["spec"]["egress"] for port in rule["ports"]
    }

    named = {int(port) for port in re.findall(r"\| (\d+)[^|]*\|$", listed, re.MULTILINE)}

    assert ports == {53, 443, 8200}
    assert ports <= named


def test_the_image_and_the_cluster_start_the_gateway_alike() -> None:
    pods, *_ = yaml.safe_load_all((KUBERNETES / "gateway.yaml").read_text())
    image = (ROOT / "deploy" / "Containerfile").read_text()

    entry_point = json.loads(re.findall(r"^ENTRYPOINT (.*)$", image, re.MULTILINE)[0])

    assert pods["spec"]["template"]["spec"]["containers"][0]["command"] == entry_point


def test_every_variable_that_the_deployment_sets_is_a_setting() -> None:
    files = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    named = {name for path in files for name in re.findall(rf"{PREFIX}[A-Z_]+", path.read_text())}

    assert named
    assert named <= {setting.variable for setting in SETTINGS} | set(OTHER_VARIABLES)


def test_commands_inside_the_container_find_the_files_that_serve_reads() -> None:
    image = (ROOT / "deploy" / "Containerfile").read_text()

    entry_point = json.loads(re.findall(r"^ENTRYPOINT (.*)$", image, re.MULTILINE)[0])
    folder = re.findall(r"OIDC_GATEWAY_CONFIG=(\S+)", image)

    assert folder == [entry_point[entry_point.index("--config") + 1]]


def test_the_ingress_publishes_every_door_and_nothing_of_the_operators() -> None:
    paths = [
        (path["path"], path["pathType"])
        for rule in load(KUBERNETES / "ingress.yaml")["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]

    def is_published(route: str) -> bool:
        return any(
            route == path or (kind == "Prefix" and route.startswith(f"{path}/")) for path, kind in paths
        )

    metrics = Metrics()
    operators = health_routes(metrics=metrics, draining=Draining(), policy=lambda: None, keys=lambda: ())
    published = {route for route in json.loads(OPENAPI.read_text())["paths"] if is_published(route)}

    assert [route.path for route in operators if is_published(route.path)] == []
    assert published == set(json.loads(OPENAPI.read_text())["paths"]) - {route.path for route in operators}


def test_every_name_that_is_yours_is_replaced_where_it_stands() -> None:
    names = load(KUBERNETES / "names.yaml")["data"]
    files = {path.name: path.read_text() for path in KUBERNETES.glob("*.yaml")}
    documents = [
        document for text in files.values() for document in yaml.safe_load_all(text) if "kind" in document
    ]
    by_kind = {document["kind"]: document for document in documents}

    replaced = {}
    for replacement in load(KUBERNETES / "kustomization.yaml")["replacements"]:
        name = replacement["source"]["fieldPath"].removeprefix("data.")
        found = [
            value_at(by_kind[target["select"]["kind"]], path)
            for target in replacement["targets"]
            for path in target["fieldPaths"]
        ]
        replaced[name] = {value.removeprefix("https://") for value in found}

    assert replaced == {name: {value} for name, value in names.items()}


def value_at(document: Any, path: str) -> str:
    """Return what stands at a field path of kustomize: members, indices, and [name=value] for an entry of a list."""
    here = document
    for selector, plain in re.findall(r"\[([^\]]+)\]|([^.\[\]]+)", path):
        if "=" in selector:
            key, _, value = selector.partition("=")
            [here] = [entry for entry in here if entry[key] == value]
        else:
            here = here[int(plain)] if plain.isdigit() else here[selector or plain]
    assert isinstance(here, str)
    return here


def test_the_namespaces_of_the_policy_are_those_of_the_tls_end_prometheus_and_vault() -> None:
    names = load(KUBERNETES / "names.yaml")["data"]
    policy = load(KUBERNETES / "network.yaml")["spec"]

    admitted = [
        source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in policy["ingress"]
        for source in rule["from"]
    ]

    assert admitted == [names["ingress-namespace"], names["monitoring-namespace"]]


def test_the_host_of_the_ingress_is_the_audience_of_the_configuration() -> None:
    host = load(KUBERNETES / "names.yaml")["data"]["host"]

    audiences = {audience for entry in GATEWAY["issuers"].values() for audience in entry.get("audiences", [])}

    assert audiences == {f"https://{host}"}


@pytest.mark.parametrize("page", ["README.md", "deploy/vault/README.md"])
@pytest.mark.parametrize(
    ("written", "path"),
    [
        pytest.param(r"(?:--role |VAULT_ROLE=|\brole=\")([\w-]+)", ("role",), id="role"),
        pytest.param(
            r"(?:--header-value |VAULT_SERVER_ID=|header_value=\")([\w.-]+\w)", ("server_id",), id="server id"
        ),
        pytest.param(r"vault policy write (\S+)", ("policies", 0), id="policy"),
    ],
)
def test_the_commands_of_a_task_name_the_task_role_of_the_configuration(
    page: str, written: str, path: tuple[str | int, ...]
) -> None:
    role = yaml.safe_load((CONFIG / "targets.yaml").read_text())["task_roles"]["payout-task"]
    expected = role[path[0]] if len(path) == 1 else role[path[0]][path[1]]

    named = set(re.findall(written, (ROOT / page).read_text()))

    assert named <= {expected}


def test_vaults_commands_go_to_the_vault_and_namespace_of_the_configuration() -> None:
    vault = yaml.safe_load((CONFIG / "gateway.yaml").read_text())["vaults"]["main"]
    pages = [(ROOT / page).read_text() for page in ("README.md", "deploy/vault/README.md")]

    exported = [
        found for text in pages for found in re.findall(r"^export VAULT_ADDR=(.*)$", text, re.MULTILINE)
    ]

    assert len(exported) == 4
    for line in exported:
        assert line.startswith(f"{vault['address']} VAULT_NAMESPACE={vault['namespace']}")


def test_no_page_makes_a_role_of_vaults_aws_auth_by_hand() -> None:
    for page in (ROOT / "README.md", *(ROOT / "deploy").rglob("*.md")):
        assert not re.search(r"vault write \S*auth/\S+/role/", page.read_text()), page
