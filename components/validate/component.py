"""KFP adapter of the validate step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("validate"), install_kfp_package=False)
def validate(
    config: str,
    run_id: str,
    data: dsl.Input[dsl.Dataset],
    clean: dsl.Output[dsl.Dataset],
    docs: dsl.Output[dsl.Artifact],
) -> None:
    """Judge and repair the canonical tables; bad data ends the run here.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        data: the canonical tables and their manifest.
        clean: the repaired tables, the manifest and `quality.json`.
        docs: Great Expectations' Data Docs, a folder with `index.html`.
    """
    from components.validate.step import run

    run(config, run_id, data.path, clean.path, docs.path)
