variable "name" {
  description = "Name of the installation; prefix of everything that is made."
  type        = string
  default     = "ostinato"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}$", var.name))
    error_message = "Use 3 to 21 small letters, digits and hyphens, beginning with a letter."
  }
}

variable "environment" {
  description = "dev, staging or prod; part of every name, and prod keeps what the others let go."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "Choose dev, staging or prod."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC, a /16."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.cidr, 4, 15))
    error_message = "Give a range that holds sixteen subnets, such as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones; two at least."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 4
    error_message = "Name two to four zones."
  }
}

variable "kubernetes_version" {
  description = "Of the EKS control plane and the nodes."
  type        = string
  default     = "1.33"
}

variable "api_access_cidrs" {
  description = "Address ranges that may reach the Kubernetes API from outside; empty: only from within the VPC."
  type        = list(string)
  default     = []
}

variable "cpu_nodes" {
  description = "CPU nodes: instance types, and how many at least and at most."
  type = object({
    instance_types = list(string)
    minimum        = number
    maximum        = number
  })
  default = {
    instance_types = ["m7i.2xlarge"]
    minimum        = 2
    maximum        = 10
  }
}

variable "gpu_nodes" {
  description = "GPU nodes for training. None run while nothing trains."
  type = object({
    instance_types = list(string)
    maximum        = number
  })
  default = {
    instance_types = ["g6.4xlarge"]
    maximum        = 4
  }
}

variable "redis" {
  description = "The online store: node type, and replicas of the primary (one at least keeps it alive when a zone fails)."
  type = object({
    node_type = string
    replicas  = number
  })
  default = {
    node_type = "cache.r7g.large"
    replicas  = 1
  }
}

variable "redis_secret" {
  description = "Name of the Secrets Manager secret whose text is the Redis password (16 to 128 characters). A person makes it; Terraform reads it, so the state must be kept like a secret."
  type        = string
}

variable "registry_instance_class" {
  description = "Size of the PostgreSQL that holds Feast's registry; a small one does."
  type        = string
  default     = "db.t4g.small"
}

variable "namespace" {
  description = "Kubernetes namespace of the pipeline's steps; roles can be taken by its service accounts only."
  type        = string
  default     = "ostinato"
}

variable "log_days" {
  description = "Days that served lists, feedback and flow logs are kept. Deletion of a person reaches them before that (`ostinato forget`)."
  type        = number
  default     = 400

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400], var.log_days)
    error_message = "CloudWatch keeps logs for 30, 60, 90, 120, 150, 180, 365 or 400 days."
  }
}
