output "vpc_id" {
  description = "Of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Of the subnets that nodes and stores live in, one per zone."
  value       = [for subnet in aws_subnet.private : subnet.id]
}
