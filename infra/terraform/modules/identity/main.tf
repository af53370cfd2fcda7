# A role per step, which only that step's service account can take on. What a step may do follows
# from which buckets it reads and which it writes; nothing may change another step's things.

locals {
  # r: read, w: read and write. What may be deleted is in `deletes`; buckets are versioned, and
  # `forget` alone expunges. `artifacts` is where KFP's launcher fetches a step's inputs and stores
  # its outputs (`backend.pipeline_root`). `deploy` publishes live features.
  steps = {
    ingest      = { data = "w", features = "r", artifacts = "w", logs = "w" }
    validate    = { data = "w", artifacts = "w" }
    materialize = { data = "r", features = "w", artifacts = "w" }
    train       = { data = "r", artifacts = "w" }
    evaluate    = { data = "r", artifacts = "w", registry = "r", logs = "r" }
    gate        = { artifacts = "w" }
    register    = { artifacts = "w", registry = "w" }
    deploy      = { features = "w", artifacts = "w", registry = "w", logs = "r" }
    outcome     = { artifacts = "w" }
    serve       = { registry = "r", features = "r", logs = "w" }
    stream      = { features = "w" }
    triggers    = { data = "r", features = "r", logs = "r" }
    # No step, but a server of its own.
    feature-server = { features = "r" }
    # Argo Events: told of new objects by a queue, reads no bucket.
    events = {}
    forget = { data = "x", features = "x", artifacts = "x", registry = "x", logs = "x" }
  }

  # ingest and stream join small files into large ones, and remove the small ones. A training's
  # checkpoints are pruned: `distributed.trainjob.location` lies under this prefix.
  deletes = [
    { step = "ingest", bucket = "logs", keys = "*" },
    { step = "stream", bucket = "features", keys = "*/user_event/*" },
    { step = "train", bucket = "artifacts", keys = "training/*" },
  ]

  verbs = {
    r = ["s3:GetObject"]
    w = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    x = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:GetObjectVersion", "s3:DeleteObjectVersion"]
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.steps

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.oidc_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:sub"
      values   = ["system:serviceaccount:${var.namespace}:${each.key}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "step" {
  for_each = local.steps

  dynamic "statement" {
    for_each = length(each.value) > 0 ? [1] : []

    content {
      sid       = "List"
      actions   = concat(["s3:ListBucket"], each.key == "forget" ? ["s3:ListBucketVersions"] : [])
      resources = [for kind in keys(each.value) : var.bucket_arns[kind]]
    }
  }

  dynamic "statement" {
    for_each = each.value

    content {
      sid       = title(statement.key)
      actions   = local.verbs[statement.value]
      resources = ["${var.bucket_arns[statement.key]}/*"]
    }
  }

  dynamic "statement" {
    for_each = [for deleting in local.deletes : deleting if deleting.step == each.key]

    content {
      sid       = "Delete"
      actions   = ["s3:DeleteObject"]
      resources = ["${var.bucket_arns[statement.value.bucket]}/${statement.value.keys}"]
    }
  }

  dynamic "statement" {
    for_each = length(each.value) > 0 ? [1] : []

    content {
      sid = "Key"
      actions = concat(
        ["kms:Decrypt"],
        anytrue([for verb in values(each.value) : verb != "r"]) ? ["kms:GenerateDataKey"] : [],
      )
      resources = [var.kms_key_arn]
    }
  }

  dynamic "statement" {
    for_each = each.key == "events" ? [var.queue_arn] : []

    content {
      sid       = "Queue"
      actions   = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "step" {
  for_each = local.steps

  name                 = "${var.name}-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = 43200
}

resource "aws_iam_role_policy" "step" {
  for_each = local.steps

  role   = aws_iam_role.step[each.key].id
  policy = data.aws_iam_policy_document.step[each.key].json
}
