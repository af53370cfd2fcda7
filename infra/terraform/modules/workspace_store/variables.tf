variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "vpc_id" {
  description = "Where it is reached."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, one per zone."
  type        = list(string)
}

variable "client_group_id" {
  description = "Security group that may mount it."
  type        = string
}
