"""What features are about: users and items."""

from __future__ import annotations

from feast import Entity, ValueType

OWNER = "recommendations@ostinato.example"

USER = Entity(
    name="user",
    join_keys=["user_id"],
    value_type=ValueType.STRING,
    description="A person who acts; outside this store a keyed pseudonym stands for the id.",
    tags={"domain": "people", "personal_data": "yes"},
    owner=OWNER,
)

ITEM = Entity(
    name="item",
    join_keys=["item_id"],
    value_type=ValueType.STRING,
    description="Something of the catalogue.",
    tags={"domain": "catalogue", "personal_data": "no"},
    owner=OWNER,
)
