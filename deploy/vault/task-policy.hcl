# Policy `payout-task`: what the task may do in Vault, and nothing else. Vault's own `default` policy lets it revoke its token.
path "secret/data/payments" {
  capabilities = ["read"]
}
