terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0" # IAM identity providers without thumbprints, which AWS no longer needs for public CAs
    }
  }
}

provider "aws" {
  region = var.region

  # Trust policies and targets.yaml hold literal ARNs of one account. Applied elsewhere they would look right and trust
  # nobody, or the wrong provider: refuse.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = var.tags
  }
}
