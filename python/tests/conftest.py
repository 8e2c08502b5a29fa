"""A small checkpoint with random weights, and files of it."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import watersic

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOOKS = ROOT / "models" / "books-llama"

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 4096,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "bos_token_id": 4094,
    "eos_token_id": 4095,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
# A tenth of the time.
QUICK = {
    "trellis": 0,
    "coder": "pooled",
    "samples": 2,
    "sequence_length": 64,
    "basis": "principal",
    "threads": 2,
}


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, values in tensors.items():
        end = offset + values.nbytes
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in tensors.values():
            file.write(values.tobytes())


def random_weights(config, seed=1):
    rng = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}."
        shapes |= {
            stem + "self_attn.q_proj.weight": (queries, hidden),
            stem + "self_attn.k_proj.weight": (keys, hidden),
            stem + "self_attn.v_proj.weight": (keys, hidden),
            stem + "self_attn.o_proj.weight": (hidden, queries),
            stem + "mlp.gate_proj.weight": (inner, hidden),
            stem + "mlp.up_proj.weight": (inner, hidden),
            stem + "mlp.down_proj.weight": (hidden, inner),
            stem + "input_layernorm.weight": (hidden,),
            stem + "post_attention_layernorm.weight": (hidden,),
        }
    shapes["model.norm.weight"] = (hidden,)
    return {
        name: (
            1 + 0.3 * rng.standard_normal(shape)
            if len(shape) == 1
            else 1.5 * rng.standard_normal(shape) / np.sqrt(shape[-1])
        ).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "small"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    shutil.copy(BOOKS / "tokenizer.json", folder)
    tokenizer = json.loads((BOOKS / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(tokenizer | {"chat_template": TEMPLATE})
    )
    write_safetensors(folder / "model.safetensors", random_weights(CONFIG))
    return folder


@pytest.fixture(scope="session")
def wsic(checkpoint):
    """In a principal basis: the stream is turned, embedding and head are one matrix."""
    file = checkpoint.parent / "small.wsic"
    watersic.quantize(checkpoint, file, bits=3, **QUICK)
    return file


@pytest.fixture(scope="session")
def model(wsic):
    return watersic.load(wsic, threads=2)


@pytest.fixture(scope="session")
def layer():
    """Weights of 48 outputs and 32 inputs, and the second moment of inputs that are alike."""
    rng = np.random.default_rng(7)
    W = rng.standard_normal((48, 32))
    S = 0.9 ** np.abs(np.subtract.outer(np.arange(32), np.arange(32)))
    return W, S
