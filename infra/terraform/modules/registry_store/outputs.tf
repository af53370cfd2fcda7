output "endpoint" {
  description = "host:port; TLS only."
  value       = aws_db_instance.this.endpoint
}

output "password_secret_arn" {
  description = "Secret in Secrets Manager that holds user and password, made and changed by RDS."
  value       = one(aws_db_instance.this.master_user_secret[*].secret_arn)
}
