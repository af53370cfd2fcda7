"""A compiled pipeline whose pods that train ask for what the configuration says."""

from __future__ import annotations

from pathlib import Path

from pipelines.backend.servable import require_servable
from pipelines.backend.step_images import with_images
from pipelines.cluster_parameters import GPUS, STEP_LABEL
from recommender.config import Config
from recommender.config.backend import TrainPodConfig

_GPU = "nvidia.com/gpu"


def uploaded(package: Path, config: Config) -> str:
    """Return a compiled pipeline's YAML as a backend gets it: with images and resources.

    Args:
        package: the compiled pipeline.
        config: the whole configuration: `backend.images`, `backend.train`.

    Raises:
        ConfigError: as for `with_images` and `require_servable`.
    """
    require_servable(package.read_text(encoding="utf-8"), config)
    text = with_images(package, config.backend.images)
    asked = config.backend.train
    # A refresh and a study train in their own pods, whatever the launcher.
    follows = package.stem == "training" and config.distributed.launcher == "trainjob"
    gpus = (0 if follows else GPUS) if asked.gpus is None else asked.gpus
    if gpus == GPUS and asked.model_copy(update={"gpus": None}) == TrainPodConfig():
        return text  # as compiled
    return _with_resources(text, asked, gpus)


def _with_resources(text: str, asked: TrainPodConfig, gpus: int) -> str:
    import yaml

    spec, platform = yaml.safe_load_all(text)
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, pod in pods.items():
        # What only reads a study has the rights of `train`, and asks for no GPU.
        trains = any(each.get("key") == _GPU for each in pod.get("tolerations", []))
        if pod["podMetadata"]["labels"].get(STEP_LABEL) != "train" or not trains:
            continue
        pod["activeDeadlineSeconds"] = str(round(3600 * asked.hours))
        # KFP 2.17 reads these; the older fields for the same are left out, lest they differ.
        resources: dict[str, object] = {
            "resourceCpuLimit": str(2 * asked.cpu),
            "resourceCpuRequest": str(asked.cpu),
            "resourceMemoryLimit": asked.memory,
            "resourceMemoryRequest": asked.memory,
        }
        if gpus:
            resources["accelerator"] = {"resourceCount": str(gpus), "resourceType": _GPU}
        else:
            pod["tolerations"] = [t for t in pod["tolerations"] if t.get("key") != _GPU]
        spec["deploymentSpec"]["executors"][name]["container"]["resources"] = resources
    return yaml.safe_dump_all([spec, platform], sort_keys=True)
