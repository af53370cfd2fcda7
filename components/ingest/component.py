"""KFP adapter of the ingest step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("ingest"), install_kfp_package=False)
def ingest(config: str, run_id: str, data: dsl.Output[dsl.Dataset]) -> str:
    """Turn the configured source into canonical tables.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        data: the tables and their manifest.

    Returns:
        the data version.
    """
    from components.ingest.step import run

    version = run(config, run_id, data.path)
    data.metadata["data_version"] = version
    return version
