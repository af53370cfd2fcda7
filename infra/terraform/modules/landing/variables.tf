variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "bucket_name" {
  description = "Bucket whose new objects are told of."
  type        = string
}

variable "bucket_arn" {
  description = "Of that bucket."
  type        = string
}
