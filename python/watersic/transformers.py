"""For Hugging Face's transformers: models whose layers multiply with what a .wsic file holds.

    python -m watersic.transformers model.wsic FOLDER     # or prepare("model.wsic", "FOLDER")

    import watersic.transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("FOLDER")

Importing this registers the quantization method "watersic". Linear layers and the embedding run by
watersic's kernels, on the CPU, from packed weights that are not in the state_dict. Gradients go
through the layers to their inputs; their weights are fixed. With `WatersicConfig(dequantize=True)`
the model is an ordinary one, for other devices and for training.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
from typing import Any

import torch
import transformers.quantizers.auto as registry
from transformers.quantizers.base import HfQuantizer
from transformers.utils import cached_file
from transformers.utils.quantization_config import QuantizationConfigMixin

from . import _core
from ._files import inspect
from ._model import Model, load

__all__ = ["WatersicConfig", "WatersicEmbedding", "WatersicLinear", "WatersicQuantizer", "prepare"]

METHOD = "watersic"
FILE = "model.wsic"


@registry.register_quantization_config(METHOD)
class WatersicConfig(QuantizationConfigMixin):
    """What config.json says as `quantization_config`.

    file: the .wsic file in the model's folder. weights: "packed" (inputs rounded to 8 bits),
    "exact" or "float32", as watersic.load has them; threads: of the layers, 0 for all. dequantize:
    dense weights, of the dtype that from_pretrained is given, in modules of torch.
    """

    def __init__(
        self,
        file: str = FILE,
        weights: str = "packed",
        threads: int = 0,
        dequantize: bool = False,
        quant_method: str = METHOD,
    ) -> None:
        if quant_method != METHOD:
            raise ValueError(f"quant_method: expected {METHOD}, found {quant_method}")
        self.quant_method = METHOD
        self.file = file
        self.weights = weights
        self.threads = threads
        self.dequantize = dequantize

    def get_loading_attributes(self) -> dict[str, Any]:
        """What from_pretrained(quantization_config=...) may say otherwise than the folder."""
        return {"weights": self.weights, "threads": self.threads, "dequantize": self.dequantize}


# Configurations of these classes may change how a folder is loaded; not in older versions.
if hasattr(registry, "LOADING_ATTRIBUTES_CONFIG_TYPES"):
    registry.LOADING_ATTRIBUTES_CONFIG_TYPES += (WatersicConfig,)


def _on_cpu(x: torch.Tensor) -> None:
    if x.device.type != "cpu":
        raise ValueError(
            f"watersic's layers run on the CPU, found inputs on {x.device}; load the model with "
            "quantization_config=WatersicConfig(dequantize=True)"
        )


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, linear: WatersicLinear) -> torch.Tensor:
        ctx.linear = linear
        rows = x.reshape(-1, linear.in_features).float()
        y = torch.from_numpy(linear.layer.apply(rows))
        return y.reshape(*x.shape[:-1], linear.out_features).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return (gradient.float() @ ctx.linear.dense()).to(gradient.dtype), None


class WatersicLinear(torch.nn.Module):
    """y = x V^T + bias by watersic's kernels; V, outputs x inputs, is fixed, and no parameter.

    Takes ... x in_features of any float dtype and gives ... x out_features of the same; what is
    between is float32. The gradient of x is that of the product with V as it is.
    """

    def __init__(self, model: Model, weight: str) -> None:
        super().__init__()
        self.layer: _core.Layer = model.layer(weight)
        self.in_features, self.out_features = self.layer.inputs, self.layer.outputs
        self._model, self._weight = model, weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _on_cpu(x)
        return _Product.apply(x, self)

    def dense(self) -> torch.Tensor:
        """V, float32; decoded anew each time."""
        return torch.from_numpy(self._model.tensors()[self._weight])

    def extra_repr(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bytes={self.layer.bytes}"


class WatersicEmbedding(torch.nn.Module):
    """Rows of a matrix as watersic holds it, of `dtype`; it is fixed, and no parameter."""

    def __init__(self, model: Model, weight: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer: _core.Layer = model.layer(weight)
        self.num_embeddings, self.embedding_dim = self.layer.outputs, self.layer.inputs
        self.dtype = dtype

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        _on_cpu(ids)
        rows = torch.from_numpy(self.layer.rows(ids.reshape(-1).tolist()))
        return rows.reshape(*ids.shape, self.embedding_dim).to(self.dtype)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, bytes={self.layer.bytes}"


@registry.register_quantizer(METHOD)
class WatersicQuantizer(HfQuantizer):
    """Puts watersic's layers in place of torch's as a model is loaded."""

    requires_calibration = True  # from_pretrained does not quantize: watersic.quantize does

    def validate_environment(self, *args: Any, device_map: Any = None, **kwargs: Any) -> None:
        places = device_map.values() if isinstance(device_map, dict) else [device_map]
        if not self.quantization_config.dequantize and any(
            place not in (None, "auto") and torch.device(place).type != "cpu" for place in places
        ):
            raise ValueError(
                f"device_map: expected cpu for layers of watersic, found {device_map}; for other "
                "devices give quantization_config=WatersicConfig(dequantize=True)"
            )

    def update_device_map(self, device_map: Any) -> Any:
        return (
            "cpu"
            if device_map == "auto" and not self.quantization_config.dequantize
            else device_map
        )

    def _open(self, model: Any, checkpoint_files: list[str] | None) -> Model:
        config = self.quantization_config
        path = None
        if checkpoint_files:
            beside = pathlib.Path(checkpoint_files[0]).parent / config.file
            path = beside if beside.exists() else None
        if path is None:
            path = cached_file(model.name_or_path, config.file)
        weights = "float32" if config.dequantize else config.weights
        return load(path, weights=weights, threads=config.threads)

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        self._file = self._open(model, kwargs.get("checkpoint_files"))
        if self.quantization_config.dequantize:
            model._keys_to_ignore_on_load_missing = [".*"]  # they come afterwards
            return model
        for name, module in list(model.named_modules()):
            if isinstance(module, torch.nn.Linear):
                layer: torch.nn.Module = WatersicLinear(self._file, self._tensor(name + ".weight"))
            elif isinstance(module, torch.nn.Embedding):
                weight = self._tensor(name + ".weight")
                layer = WatersicEmbedding(self._file, weight, module.weight.dtype)
            else:
                continue
            model.set_submodule(name, layer)
        # There is nothing left to tie.
        model.config.tie_word_embeddings = False
        model.all_tied_weights_keys = {}
        return model

    def _tensor(self, name: str) -> str:
        """A parameter's name in the file: a model without a head has no prefix."""
        if not hasattr(self, "_names"):
            self._names = set(self._file.tensors())
        return name if name in self._names else f"model.{name}"

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        if self.quantization_config.dequantize:
            tensors = self._file.tensors()
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(torch.from_numpy(tensors[self._tensor(name)]))
        del self._file
        return model

    def is_serializable(self, *args: Any, **kwargs: Any) -> bool:
        return False  # the folder that it came from is what there is to copy

    @property
    def is_trainable(self) -> bool:
        return True  # adapters beside the layers are


def prepare(
    file: str | os.PathLike[str], folder: str | os.PathLike[str], *, weights: str = "packed"
) -> None:
    """Makes a folder for from_pretrained of a .wsic file.

    folder, new or empty, gets the file as model.wsic, config.json with `quantization_config`, the
    tokenizer's files, and the norms as model.safetensors. weights: as WatersicConfig has them.
    Raises Error.
    """
    from safetensors.torch import save_file

    place = pathlib.Path(folder)
    texts = inspect(file)["texts"]
    model = load(file, weights=weights)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise _core.Error(f"{place}: expected a new or empty folder, found one with files in it")
    place.mkdir(parents=True, exist_ok=True)
    for name in texts:
        (place / name).write_text(model.text(name) or "", encoding="utf-8")
    config = json.loads(model.text("config.json") or "")
    config["dtype" if "dtype" in config else "torch_dtype"] = "float32"
    config["quantization_config"] = WatersicConfig(weights=weights).to_dict()
    (place / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors = model.tensors()
    vectors = {name: tensors[name] for name in tensors if len(tensors.shape(name)) == 1}
    # Biases come with their layers.
    norms = {
        name: torch.tensor(values) for name, values in vectors.items() if name.endswith("weight")
    }
    save_file(norms, place / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(file, place / FILE)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m watersic.transformers",
        description="Makes a folder for transformers' from_pretrained of a .wsic file.",
    )
    parser.add_argument("file", metavar="FILE.wsic")
    parser.add_argument("folder", metavar="FOLDER", help="new or empty")
    parser.add_argument("--weights", choices=["packed", "exact", "float32"], default="packed")
    arguments = parser.parse_args()
    try:
        prepare(arguments.file, arguments.folder, weights=arguments.weights)
    except _core.Error as error:
        raise SystemExit(f"watersic: {error}") from None


if __name__ == "__main__":
    main()
