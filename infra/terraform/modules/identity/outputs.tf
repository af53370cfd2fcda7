output "role_arns" {
  description = "By step."
  value       = { for step, role in aws_iam_role.step : step => role.arn }
}
