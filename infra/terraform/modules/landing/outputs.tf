output "queue_name" {
  description = "For `queue` of the EventSource `lake`."
  value       = aws_sqs_queue.this.name
}

output "queue_arn" {
  description = "Of the queue, for those who may read it."
  value       = aws_sqs_queue.this.arn
}
