output "role_arns" {
  description = "What `roles` in config/targets.yaml must name."
  value       = { for name, role in aws_iam_role.target : name => role.arn }
}

output "state_machine_arn" {
  description = "What `workflows.deploy-payments.state_machine` in config/targets.yaml must name."
  value       = aws_sfn_state_machine.deploy_payments.arn
}

output "reachable_without_the_gateway" {
  description = "True: a holder of an accepted token can call STS from anywhere. Set gateway_vpc_endpoint_ids or gateway_cidrs."
  value       = !local.bound_to_network
}
