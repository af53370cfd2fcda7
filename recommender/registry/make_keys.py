"""Make the keys that models are signed with, and print the public one.

    python -m recommender.registry.make_keys CONFIGURATION

The configuration is the text of a YAML file; its workspace gets the keys, unless it has them.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Print the public key of the workspace that the configuration in the arguments names."""
    import yaml

    from recommender.config import parse
    from recommender.errors import UserError
    from recommender.registry.signing import make_keys

    (text,) = sys.argv[1:]
    try:
        path = make_keys(parse(yaml.safe_load(text), "the argument").paths.keys)
    except UserError as error:
        raise SystemExit(str(error)) from None
    print(path.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
