variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "vpc_id" {
  description = "Where it lives."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in two zones at least."
  type        = list(string)
}

variable "client_group_id" {
  description = "Security group of who may speak to it."
  type        = string
}

variable "instance_class" {
  description = "Size of the instance."
  type        = string
}

variable "keep" {
  description = "Whether it has a standby, keeps backups and refuses to be destroyed."
  type        = bool
}
