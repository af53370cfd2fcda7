variable "name" {
  description = "Of the cluster."
  type        = string
}

variable "kubernetes_version" {
  description = "Of the control plane and the nodes."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in two zones at least."
  type        = list(string)
}

variable "api_access_cidrs" {
  description = "Address ranges that may reach the Kubernetes API from outside; empty: none."
  type        = list(string)
}

variable "cpu_nodes" {
  description = "Instance types, and how many at least and at most."
  type = object({
    instance_types = list(string)
    minimum        = number
    maximum        = number
  })
}

variable "gpu_nodes" {
  description = "Instance types, and how many at most; none while nothing trains."
  type = object({
    instance_types = list(string)
    maximum        = number
  })
}

variable "log_days" {
  description = "Days that the control plane's logs are kept."
  type        = number
}
