output "cluster_name" {
  description = "For `aws eks update-kubeconfig --name …`."
  value       = module.cluster.name
}

output "buckets" {
  description = "Bucket names by what they hold."
  value       = module.storage.bucket_names
}

output "roles" {
  description = "IAM role of each step, for the annotation eks.amazonaws.com/role-arn of its service account."
  value       = module.identity.role_arns
}

output "image_repositories" {
  description = "ECR repository of each image."
  value       = module.images.repository_urls
}

output "redis_endpoint" {
  description = "host:port of the online store's primary; TLS only."
  value       = module.online_store.endpoint
}

output "registry_endpoint" {
  description = "host:port of the registry's PostgreSQL; TLS only."
  value       = module.registry_store.endpoint
}

output "registry_password_secret" {
  description = "Secret in Secrets Manager with its user and password."
  value       = module.registry_store.password_secret_arn
}

output "landed_queue" {
  description = "Queue that is told of new raw data; the name in the overlay's EventSource `lake`."
  value       = module.landing.queue_name
}

output "storage_classes" {
  description = "Manifest of the cluster's classes of volumes, `ebs` (the default) and `efs`, for `kubectl apply -f -`."
  value       = join("---\n", [for each in local.storage_classes : yamlencode(each)])
}

output "autoscaler_role" {
  description = "IAM role of the cluster autoscaler's service account."
  value       = module.cluster.autoscaler_role_arn
}
