# From the outside in: a network, the buckets, a cluster in the network, the identities that its
# steps take on, the registry for their images, and the online store.

locals {
  prefix = "${var.name}-${var.environment}"
  keep   = var.environment == "prod"
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
}

module "images" {
  source = "./modules/images"

  name = local.prefix
  keep = local.keep
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
