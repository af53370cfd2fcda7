"""KFP adapters of the search for settings: its workers, and what they found."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def seats(config: str, run_id: str) -> list:  # type: ignore[type-arg]
    """Return a name for each worker of the search.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
    """
    from components.tune.step import seats as names

    return names(config, run_id)


@dsl.component(base_image=image("train"), install_kfp_package=False)
def tune(
    config: str,
    run_id: str,
    worker: str,
    dataset: dsl.Input[dsl.Dataset],
) -> None:
    """Try settings, beside the other workers, until enough have been tried.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        worker: which one this is, from "0".
        dataset: the log, the catalogue, text vectors and the folds.
    """
    from components.tune.step import run

    run(config, run_id, worker, dataset.path)


@dsl.component(base_image=image("train"), install_kfp_package=False)
def conclude(
    config: str,
    run_id: str,
    dataset: dsl.Input[dsl.Dataset],
    settings: dsl.Output[dsl.Artifact],
) -> None:
    """Say which settings were best.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        dataset: that was searched on.
        settings: gets `tuning.json` (every trial) and `best.yaml`.
    """
    from components.tune.step import conclude as tell

    tell(config, run_id, dataset.path, settings.path)
