# A plan against a provider that answers without an account: what `validate` can't see, such as a
# loop over what is known only after `apply`. Run by `terraform test`.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_data "aws_secretsmanager_secret_version" {
    defaults = { secret_string = "only-for-the-plan-0000" }
  }
}

variables {
  environment  = "prod"
  region       = "eu-central-1"
  zones        = ["eu-central-1a", "eu-central-1b"]
  redis_secret = "any"
}

run "everything" {
  command = plan
}

run "classes_of_volumes" {
  command = plan

  override_module {
    target  = module.workspace_store
    outputs = { file_system_id = "fs-0000" }
  }

  assert {
    condition     = [for each in split("---\n", output.storage_classes) : yamldecode(each).metadata.name] == ["ebs", "efs"]
    error_message = "The two classes that claims name."
  }

  assert {
    condition     = yamldecode(split("---\n", output.storage_classes)[1]).parameters.fileSystemId == "fs-0000"
    error_message = "The class is of another file system."
  }
}

run "a_cluster" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    name               = "any"
    kubernetes_version = "1.33"
    subnet_ids         = ["subnet-a", "subnet-b"]
    api_access_cidrs   = []
    cpu_nodes          = { instance_types = ["m7i.2xlarge"], minimum = 2, maximum = 10 }
    gpu_nodes          = { instance_types = ["g6.4xlarge"], maximum = 4 }
    log_days           = 30
  }

  assert {
    condition     = toset(keys(aws_eks_addon.driver)) == toset(["aws-ebs-csi-driver", "aws-efs-csi-driver"])
    error_message = "Both kinds of volumes need their driver."
  }

  # The metadata service answers one hop only, so a controller can't take the node's role.
  assert {
    condition     = aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1 && alltrue([for each in keys(aws_eks_addon.driver) : contains(keys(aws_iam_role_policy_attachment.driver), each)])
    error_message = "A driver has no role of its own."
  }

  assert {
    condition     = !anytrue([for each in keys(aws_iam_role_policy_attachment.node) : strcontains(each, "CSI")])
    error_message = "The node's role makes volumes."
  }

  assert {
    condition     = aws_eks_node_group.gpu.labels["nvidia.com/gpu.present"] == "true"
    error_message = "NVIDIA's device plugin goes to no node."
  }

  assert {
    condition     = contains(keys(aws_eks_addon.others), "metrics-server")
    error_message = "Nothing tells the autoscaler of pods what they use."
  }
}
