# From the outside in: a network, the buckets, a cluster in the network, the identities that its
# steps take on, the repositories of their images, the stores, and the queue that tells of new data.
# Classes of volumes are Kubernetes' own: `terraform output -raw storage_classes`.

locals {
  prefix = "${var.name}-${var.environment}"
  keep   = var.environment == "prod"

  # Steps run as this user, and KFP can't set a pod's group (docs/operations.md).
  user = "65532"

  storage_classes = [
    {
      apiVersion = "storage.k8s.io/v1"
      kind       = "StorageClass"
      metadata = {
        name        = "ebs"
        annotations = { "storageclass.kubernetes.io/is-default-class" = "true" }
      }
      provisioner          = "ebs.csi.aws.com"
      parameters           = { type = "gp3", encrypted = "true" }
      volumeBindingMode    = "WaitForFirstConsumer"
      allowVolumeExpansion = true
    },
    {
      apiVersion  = "storage.k8s.io/v1"
      kind        = "StorageClass"
      metadata    = { name = "efs" }
      provisioner = "efs.csi.aws.com"
      parameters = {
        provisioningMode = "efs-ap"
        fileSystemId     = module.workspace_store.file_system_id
        directoryPerms   = "700"
        uid              = local.user
        gid              = local.user
        basePath         = "/volumes"
      }
      # What a claim held stays when the claim goes.
      reclaimPolicy = "Retain"
    },
  ]
}

module "network" {
  source = "./modules/network"

  name     = local.prefix
  cidr     = var.cidr
  zones    = var.zones
  log_days = var.log_days
}

module "storage" {
  source = "./modules/storage"

  name     = local.prefix
  keep     = local.keep
  log_days = var.log_days
}

module "cluster" {
  source = "./modules/cluster"

  name               = local.prefix
  kubernetes_version = var.kubernetes_version
  subnet_ids         = module.network.private_subnet_ids
  api_access_cidrs   = var.api_access_cidrs
  cpu_nodes          = var.cpu_nodes
  gpu_nodes          = var.gpu_nodes
  log_days           = var.log_days
}

module "identity" {
  source = "./modules/identity"

  name        = local.prefix
  namespace   = var.namespace
  oidc_arn    = module.cluster.oidc_arn
  oidc_issuer = module.cluster.oidc_issuer
  bucket_arns = module.storage.bucket_arns
  kms_key_arn = module.storage.kms_key_arn
  queue_arn   = module.landing.queue_arn
}

module "landing" {
  source = "./modules/landing"

  name        = local.prefix
  bucket_name = module.storage.bucket_names["data"]
  bucket_arn  = module.storage.bucket_arns["data"]
}

module "images" {
  source = "./modules/images"

  name = local.prefix
  keep = local.keep
}

module "workspace_store" {
  source = "./modules/workspace_store"

  name            = local.prefix
  vpc_id          = module.network.vpc_id
  subnet_ids      = module.network.private_subnet_ids
  client_group_id = module.cluster.node_security_group_id
}

module "online_store" {
  source = "./modules/online_store"

  name            = local.prefix
  vpc_id          = module.network.vpc_id
  subnet_ids      = module.network.private_subnet_ids
  client_group_id = module.cluster.node_security_group_id
  node_type       = var.redis.node_type
  replicas        = var.redis.replicas
  password_secret = var.redis_secret
  keep            = local.keep
}

module "registry_store" {
  source = "./modules/registry_store"

  name            = local.prefix
  vpc_id          = module.network.vpc_id
  subnet_ids      = module.network.private_subnet_ids
  client_group_id = module.cluster.node_security_group_id
  instance_class  = var.registry_instance_class
  keep            = local.keep
}
