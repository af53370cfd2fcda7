variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "keep" {
  description = "Whether buckets that hold something refuse to be destroyed."
  type        = bool
}

variable "log_days" {
  description = "Days that served lists and feedback are kept."
  type        = number
}
