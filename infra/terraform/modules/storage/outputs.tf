output "bucket_names" {
  description = "By what they hold: data, features, artifacts, registry, logs."
  value       = { for kind, bucket in aws_s3_bucket.this : kind => bucket.bucket }
}

output "bucket_arns" {
  description = "By what they hold."
  value       = { for kind, bucket in aws_s3_bucket.this : kind => bucket.arn }
}

output "kms_key_arn" {
  description = "Of the key that encrypts the objects."
  value       = aws_kms_key.this.arn
}
