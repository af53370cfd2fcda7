variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "namespace" {
  description = "Kubernetes namespace of the service accounts."
  type        = string
}

variable "oidc_arn" {
  description = "Of the cluster's identity provider."
  type        = string
}

variable "oidc_issuer" {
  description = "Its issuer, without https://."
  type        = string
}

variable "bucket_arns" {
  description = "Buckets by what they hold."
  type        = map(string)
}

variable "kms_key_arn" {
  description = "Of the key that encrypts the objects."
  type        = string
}

variable "queue_arn" {
  description = "Of the queue that the account `events` reads."
  type        = string
}
