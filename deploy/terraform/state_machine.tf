# The workflow of the example, so that the whole can be tried. Yours exist already: only their ARNs matter here.

resource "aws_sfn_state_machine" "deploy_payments" {
  name       = "deploy-payments"
  type       = "STANDARD" # `type: standard` in config/targets.yaml: names are unique, so a retry is safe
  role_arn   = aws_iam_role.workflow.arn
  definition = file("${path.module}/deploy-payments.asl.json")

  # Input carries `_caller` (issuer and subject of who started it); log levels that include execution data copy it.
}

# What the machine itself may do. Nobody's token becomes this role.
resource "aws_iam_role" "workflow" {
  name = "deploy-payments-workflow"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "states.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } } # against the confused deputy
    }]
  })
}
