# PostgreSQL for Feast's registry: small, private, TLS only. RDS makes the password, keeps it in
# Secrets Manager and changes it; it is in no state and no variable.

resource "aws_security_group" "this" {
  name        = "${var.name}-postgres"
  description = "PostgreSQL of ${var.name}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "nodes" {
  security_group_id            = aws_security_group.this.id
  description                  = "From the cluster's nodes"
  referenced_security_group_id = var.client_group_id
  from_port                    = 5432
  to_port                      = 5432
  ip_protocol                  = "tcp"
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name   = "${var.name}-postgres17"
  family = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

resource "aws_db_instance" "this" {
  identifier     = var.name
  engine         = "postgres"
  engine_version = "17"
  instance_class = var.instance_class

  db_name                     = "registry"
  username                    = "ostinato"
  manage_master_user_password = true

  allocated_storage = 20
  storage_encrypted = true
  multi_az          = var.keep

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  parameter_group_name   = aws_db_parameter_group.this.name
  publicly_accessible    = false

  # Without a backup it is made anew by the next `materialize`.
  backup_retention_period    = var.keep ? 14 : 1
  auto_minor_version_upgrade = true
  deletion_protection        = var.keep
  skip_final_snapshot        = !var.keep
  final_snapshot_identifier  = var.keep ? "${var.name}-last" : null
  apply_immediately          = !var.keep
}
