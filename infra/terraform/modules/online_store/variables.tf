variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "vpc_id" {
  description = "Where it lives."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "client_group_id" {
  description = "Security group of who may speak to it."
  type        = string
}

variable "node_type" {
  description = "Size of a node."
  type        = string
}

variable "replicas" {
  description = "Of the primary; none means that it is away while a node is replaced."
  type        = number
}

variable "password_secret" {
  description = "Name of the Secrets Manager secret whose text is the password."
  type        = string
}

variable "keep" {
  description = "Whether snapshots are kept and changes wait for the maintenance window."
  type        = bool
}
