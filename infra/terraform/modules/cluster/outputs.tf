output "name" {
  description = "Of the cluster."
  value       = aws_eks_cluster.this.name
}

output "oidc_arn" {
  description = "Of the identity provider that service accounts are told by."
  value       = aws_iam_openid_connect_provider.this.arn
}

output "oidc_issuer" {
  description = "Its issuer, without https://."
  value       = local.issuer
}

output "node_security_group_id" {
  description = "Of the nodes: what may speak to the online store."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "autoscaler_role_arn" {
  description = "Role of the service account `cluster-autoscaler` in `kube-system`."
  value       = aws_iam_role.driver["cluster-autoscaler"].arn
}
