output "file_system_id" {
  description = "Of the file system."
  value       = aws_efs_file_system.this.id
}
