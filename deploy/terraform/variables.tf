variable "account_id" {
  description = "The account that the roles live in; the same twelve digits as in config/targets.yaml, trust/*.json and permissions/*.json."
  type        = string
  default     = "111122223333"

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An AWS account id has twelve digits."
  }
}

variable "region" {
  description = "Region of the state machines; the Region in the state machine ARNs of config/targets.yaml. IAM itself is global."
  type        = string
  default     = "eu-west-1"
}

variable "gateway_vpc_endpoint_ids" {
  description = "Ids (vpce-…) of the STS interface endpoints that the gateway calls through, one for each Region it uses. With this or gateway_cidrs set, a token presented to STS from anywhere else is refused."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.gateway_vpc_endpoint_ids : can(regex("^vpce-[0-9a-f]+$", id))])
    error_message = "VPC endpoint ids look like vpce-0123456789abcdef0."
  }
}

variable "gateway_cidrs" {
  description = "Public addresses (CIDR) that the gateway's calls leave from, such as those of its NAT gateways, where it does not use an STS interface endpoint."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.gateway_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "Each entry is a CIDR such as 203.0.113.7/32, and not the whole internet."
  }
}

variable "max_session_duration_s" {
  description = "Longest session a role gives out, in seconds. At least the longest `duration` in config/targets.yaml: AWS refuses a longer request, it does not cut it."
  type        = number
  default     = 3600

  validation {
    condition     = var.max_session_duration_s >= 3600 && var.max_session_duration_s <= 43200
    error_message = "IAM allows 3600 to 43200 seconds."
  }
}

variable "tags" {
  description = "Tags on everything created here."
  type        = map(string)
  default     = { "managed-by" = "terraform", "part-of" = "oidc-gateway" }
}
