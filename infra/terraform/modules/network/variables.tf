variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC."
  type        = string
}

variable "zones" {
  description = "Availability zones."
  type        = list(string)
}

variable "log_days" {
  description = "Days that flow logs are kept."
  type        = number
}
