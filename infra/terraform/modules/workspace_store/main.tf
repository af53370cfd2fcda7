# A file system that pods on many nodes write at the same time: data versions, keys, checkpoints, the
# book of triggers. It is the one store that nothing else could make again, so it is backed up.

resource "aws_security_group" "this" {
  name        = "${var.name}-workspace"
  description = "File system of ${var.name}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "nodes" {
  security_group_id            = aws_security_group.this.id
  description                  = "From the cluster's nodes"
  referenced_security_group_id = var.client_group_id
  from_port                    = 2049
  to_port                      = 2049
  ip_protocol                  = "tcp"
}

resource "aws_efs_file_system" "this" {
  creation_token  = "${var.name}-workspace"
  encrypted       = true
  throughput_mode = "elastic"

  tags = { Name = "${var.name}-workspace" }
}

resource "aws_efs_mount_target" "this" {
  count = length(var.subnet_ids)

  file_system_id  = aws_efs_file_system.this.id
  subnet_id       = var.subnet_ids[count.index]
  security_groups = [aws_security_group.this.id]
}

# AWS Backup's own plan: every day, kept for 35 days, in the vault aws/efs/automatic-backup-vault.
resource "aws_efs_backup_policy" "this" {
  file_system_id = aws_efs_file_system.this.id

  backup_policy {
    status = "ENABLED"
  }
}
