# A queue that the data bucket tells of new raw data; Argo Events reads it (infra/kustomize, lake-sqs).

resource "aws_sqs_queue" "refused" {
  name                      = "${var.name}-landed-refused"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "this" {
  name                       = "${var.name}-landed"
  message_retention_seconds  = 345600
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = 60
  # S3 can't write to a queue whose key it may not use; this kind of encryption needs none.
  sqs_managed_sse_enabled = true

  # What nobody could read five times is kept to be looked at.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.refused.arn
    maxReceiveCount     = 5
  })
}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "told_by_s3" {
  statement {
    sid       = "S3"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.this.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [var.bucket_arn]
    }

    # A bucket's name can be taken by another account once it is gone.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  queue_url = aws_sqs_queue.this.id
  policy    = data.aws_iam_policy_document.told_by_s3.json
}

resource "aws_s3_bucket_notification" "this" {
  bucket = var.bucket_name

  queue {
    queue_arn     = aws_sqs_queue.this.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "raw/"
  }

  depends_on = [aws_sqs_queue_policy.this]
}
