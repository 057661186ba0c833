# The roles of config/targets.yaml. trust/NAME.json says whose tokens become the role, permissions/NAME.json what the
# role may do. They are plain files with literal ARNs, because the embedded environment and the tests read them too.
#
# Whoever holds a token that a trust policy accepts can call STS without the gateway: without its session policy, its
# record and the claims that only it compares. So each trust policy binds all that AWS can see of our rule, and
# gateway_vpc_endpoint_ids or gateway_cidrs close the way around where the network allows it.

locals {
  roles = toset([for file in fileset("${path.module}/trust", "*.json") : trimsuffix(file, ".json")])

  trust = { for role in local.roles : role => jsondecode(file("${path.module}/trust/${role}.json")) }

  bound_to_network = length(var.gateway_vpc_endpoint_ids) + length(var.gateway_cidrs) > 0
}

data "aws_iam_policy_document" "trust" {
  for_each = local.roles

  source_policy_documents = [file("${path.module}/trust/${each.key}.json")]

  # A Deny of its own, so that it holds whatever else somebody adds to the Allow later. Conditions of one statement are
  # joined by "and": denied is who comes neither through the endpoints nor from the addresses. A negated operator is
  # true when its key is absent, which is what a call from elsewhere (no aws:SourceVpce) or through an endpoint (no
  # aws:SourceIp) needs here.
  dynamic "statement" {
    for_each = local.bound_to_network ? ["deny"] : []

    content {
      sid     = "OnlyThroughTheGateway"
      effect  = "Deny"
      actions = ["sts:AssumeRoleWithWebIdentity"]

      principals {
        type        = "Federated"
        identifiers = [for allow in local.trust[each.key].Statement : allow.Principal.Federated]
      }

      dynamic "condition" {
        for_each = length(var.gateway_vpc_endpoint_ids) > 0 ? ["endpoints"] : []

        content {
          test     = "StringNotEquals"
          variable = "aws:SourceVpce"
          values   = var.gateway_vpc_endpoint_ids
        }
      }

      dynamic "condition" {
        for_each = length(var.gateway_cidrs) > 0 ? ["addresses"] : []

        content {
          test     = "NotIpAddress"
          variable = "aws:SourceIp"
          values   = var.gateway_cidrs
        }
      }
    }
  }
}

resource "aws_iam_role" "target" {
  for_each = local.roles

  name                 = each.key
  description          = "Target of the OIDC token exchange gateway; see config/targets.yaml"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = var.max_session_duration_s

  # IAM stores a provider's ARN as text: without this a role could be created before the provider it trusts exists.
  depends_on = [
    aws_iam_openid_connect_provider.github,
    aws_iam_openid_connect_provider.okta_agents,
    aws_iam_openid_connect_provider.operators,
    aws_iam_openid_connect_provider.partners,
  ]
}

# Inline and exclusive: a policy that somebody attaches by hand is taken away by the next apply.
resource "aws_iam_role_policy" "target" {
  for_each = local.roles

  name   = "workflows"
  role   = aws_iam_role.target[each.key].id
  policy = file("${path.module}/permissions/${each.key}.json")
}

resource "aws_iam_role_policies_exclusive" "target" {
  for_each = local.roles

  role_name    = aws_iam_role.target[each.key].name
  policy_names = [aws_iam_role_policy.target[each.key].name]
}
