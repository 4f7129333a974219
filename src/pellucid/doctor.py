"""What is installed here and whether it works."""

import importlib.metadata
import importlib.util
import os
import platform


def look() -> dict[str, str]:
    """Versions, devices, optional packages and the cache, a line each."""
    import torch
    import torchvision

    from pellucid.data.packages import cache_folder

    version = importlib.metadata.version
    works = torchvision.extension._has_ops()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    extras = {"datasets": "datasets", "tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "onnx": "onnx"}
    there = [name for name, module in extras.items() if importlib.util.find_spec(module)]
    cache = cache_folder()
    return {
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "pellucid": version("pellucid"),
        "torch": version("torch"),
        "torchvision": f"{version('torchvision')}, "
        + ("compiled operators work" if works else "its operators do not load: reinstall it with torch in one step"),
        "transformers": version("transformers"),
        "timm": version("timm"),
        "lightning-fabric": version("lightning-fabric"),
        "cores": f"{os.cpu_count()}, torch uses {torch.get_num_threads()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "gpu": ", ".join(gpus) or "none",
        "optional": ", ".join(there) or "none",
        "cache": f"{cache} ({'writable' if os.access(_existing(cache), os.W_OK) else 'NOT writable: set PELLUCID_CACHE'})",
    }


def _existing(path: os.PathLike[str]) -> str:
    place = os.fspath(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    return place
