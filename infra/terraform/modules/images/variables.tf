variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "keep" {
  description = "Whether repositories that hold images refuse to be destroyed."
  type        = bool
}
