# A repository per image. A tag is never moved (a moved tag makes stale cache hits), images are
# scanned when they come in, and untagged ones go.

locals {
  images = toset([
    "ingest", "validate", "materialize", "train", "evaluate", "gate", "register", "deploy", "outcome",
    "serve", "feature-server", "stream", "triggers", "router", "ray",
  ])
}

resource "aws_ecr_repository" "this" {
  for_each = local.images

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.keep

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Untagged images go after two weeks."
        action       = { type = "expire" }
        selection = {
          tagStatus   = "untagged"
          countType   = "sinceImagePushed"
          countUnit   = "days"
          countNumber = 14
        }
      },
    ]
  })
}
