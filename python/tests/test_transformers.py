import copy
import json
import sys

import numpy as np
import pytest
import watersic
from conftest import BOOKS, CONFIG, QUICK, random_weights, write_safetensors

torch = pytest.importorskip("torch", reason="needs torch")
transformers = pytest.importorskip("transformers", reason="needs transformers")

import watersic.transformers  # noqa: E402
from watersic.transformers import WatersicConfig, WatersicEmbedding, WatersicLinear  # noqa: E402

AutoModel = transformers.AutoModelForCausalLM
IDS = [4094, 17, 300, 5, 42, 1000, 7]

KINDS = {
    "llama, tied": {},
    "llama, a head of its own": {"tie_word_embeddings": False},
    "qwen2, biases": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "qwen3, norms of heads": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
}


def weights_of(config):
    tensors = random_weights(config)
    rng = np.random.default_rng(3)
    hidden, head = config["hidden_size"], config["head_dim"]
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = rng.standard_normal((4096, hidden)).astype(np.float32) / 8
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}.self_attn."
        if config["model_type"] == "qwen2":
            for name, size in (("q", 64), ("k", 32), ("v", 32)):
                tensors[f"{stem}{name}_proj.bias"] = rng.standard_normal(size).astype(np.float32)
        if config["model_type"] == "qwen3":
            for name in ("q_norm", "k_norm"):
                tensors[f"{stem}{name}.weight"] = 1 + 0.1 * rng.standard_normal(head).astype(
                    np.float32
                )
    return tensors


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    """Of a model in a principal basis, from packed weights that take inputs as they are."""
    place = tmp_path_factory.mktemp("kind")
    config = CONFIG | KINDS[request.param]
    (place / "model").mkdir()
    (place / "model" / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / "model" / name).write_bytes((BOOKS / name).read_bytes())
    write_safetensors(place / "model" / "model.safetensors", weights_of(config))
    watersic.quantize(place / "model", place / "model.wsic", bits=3, **QUICK)
    watersic.transformers.prepare(place / "model.wsic", place / "folder", weights="exact")
    return place / "folder"


def logits_of(model, ids=IDS):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def test_logits_are_the_models(folder):
    expected = watersic.load(folder / "model.wsic", weights="float32").logits(IDS)
    scale = np.abs(expected).max()
    model = AutoModel.from_pretrained(folder)
    assert np.abs(logits_of(model) - expected).max() < 2e-3 * scale
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(WatersicLinear) == 15 and kinds.count(WatersicEmbedding) == 1
    assert torch.nn.Linear not in kinds and torch.nn.Embedding not in kinds
    state = model.state_dict()
    assert all("norm" in name for name in state) and len(state) >= 5
    assert sum(values.nbytes for values in state.values()) < 4000

    dense = AutoModel.from_pretrained(folder, quantization_config=WatersicConfig(dequantize=True))
    assert np.abs(logits_of(dense) - expected).max() < 1e-4 * scale
    assert not any(isinstance(module, WatersicLinear) for module in dense.modules())
    assert not hasattr(dense.config, "quantization_config")


def test_packed_logits_are_the_models(folder):
    """Whose inputs are rounded to 8 bits, so that the last bits before it may tell."""
    config = WatersicConfig(weights="packed", threads=1)
    model = AutoModel.from_pretrained(folder, quantization_config=config)
    expected = watersic.load(folder / "model.wsic").logits(IDS)
    plain = watersic.load(folder / "model.wsic", weights="float32").logits(IDS)
    found = logits_of(model)
    rounding = np.sqrt(((expected - plain) ** 2).mean())
    assert np.sqrt(((found - expected) ** 2).mean()) < 2 * rounding
    assert np.sqrt(((found - plain) ** 2).mean()) < 2 * rounding


@pytest.fixture(scope="module")
def small(wsic, tmp_path_factory):
    place = tmp_path_factory.mktemp("transformers") / "folder"
    watersic.transformers.prepare(wsic, place)
    return place


def test_a_text_is_written_as_by_the_model(small, model):
    theirs = AutoModel.from_pretrained(small, quantization_config=WatersicConfig(weights="exact"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(small)
    prompt = tokenizer("It was", return_tensors="pt")
    ids = theirs.generate(**prompt, max_new_tokens=12, do_sample=False)[0].tolist()
    exact = watersic.load(small / "model.wsic", weights="exact")
    assert model.tokenize("It was") == prompt["input_ids"][0].tolist()
    assert exact.detokenize(ids) == "<|begin_of_text|>It was" + exact.generate(
        "It was", 12, temperature=0
    )
    # A batch whose prompts differ in length.
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    batch = tokenizer(["It was", "It was the best of times"], return_tensors="pt", padding=True)
    both = theirs.generate(**batch, max_new_tokens=12, do_sample=False)
    assert both[0].tolist()[-len(ids) :] == ids


def test_dtypes_and_the_model_without_a_head(small):
    expected = logits_of(AutoModel.from_pretrained(small))
    coarse = AutoModel.from_pretrained(small, torch_dtype=torch.bfloat16)
    assert coarse(torch.tensor([IDS])).logits.dtype == torch.bfloat16
    assert np.corrcoef(logits_of(coarse).ravel(), expected.ravel())[0, 1] > 0.99
    body = transformers.AutoModel.from_pretrained(small)
    assert isinstance(body.layers[0].mlp.up_proj, WatersicLinear)
    assert body(torch.tensor([IDS])).last_hidden_state.shape == (1, len(IDS), 64)


def test_gradients_reach_what_stands_before_a_layer(small):
    model = AutoModel.from_pretrained(small, quantization_config=WatersicConfig(weights="exact"))
    dense = AutoModel.from_pretrained(small, quantization_config=WatersicConfig(dequantize=True))
    gradients = []
    for each in (model, dense):
        each(torch.tensor([IDS]), labels=torch.tensor([IDS])).loss.backward()
        gradients.append(each.model.layers[0].input_layernorm.weight.grad)
    assert gradients[0].abs().max() > 0
    assert torch.allclose(
        gradients[0], gradients[1], rtol=0.01, atol=1e-3 * gradients[1].abs().max()
    )


def test_the_dense_model_is_an_ordinary_one(small, tmp_path):
    dense = AutoModel.from_pretrained(small, quantization_config=WatersicConfig(dequantize=True))
    dense.save_pretrained(tmp_path / "plain")
    again = AutoModel.from_pretrained(tmp_path / "plain")
    assert (logits_of(again) == logits_of(dense)).all()
    assert (logits_of(copy.deepcopy(dense)) == logits_of(dense)).all()


def test_what_makes_no_sense_is_refused(small, wsic, checkpoint, tmp_path):
    model = AutoModel.from_pretrained(small)
    with pytest.raises(ValueError, match="not serializable"):
        model.save_pretrained(tmp_path / "saved")
    quantizer = watersic.transformers.WatersicQuantizer(WatersicConfig())
    for device_map in ("cuda:0", {"model": "cpu", "lm_head": 1}, torch.device("cuda")):
        with pytest.raises(ValueError, match="device_map: expected cpu"):
            quantizer.validate_environment(device_map=device_map)
    with pytest.raises(ValueError, match="layers run on the CPU, found inputs on meta"):
        model.model.layers[0].mlp.up_proj(torch.ones(1, 64, device="meta"))
    with pytest.raises(watersic.Error, match="inputs of 64 features"):
        model.model.layers[0].mlp.up_proj.layer.apply(torch.ones(1, 63))
    with pytest.raises(watersic.Error, match="expected a new or empty folder"):
        watersic.transformers.prepare(wsic, small)
    with pytest.raises(watersic.Error):
        watersic.transformers.prepare(checkpoint, tmp_path / "x")
    with pytest.raises(TypeError):
        WatersicConfig(colour="red")
    with pytest.raises(watersic.Error, match="expected packed or exact"):
        AutoModel.from_pretrained(small, quantization_config=WatersicConfig(weights="thin"))


def test_folders_are_made_by_the_command(wsic, small, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["watersic.transformers", str(wsic), str(tmp_path / "folder")])
    watersic.transformers.main()
    names = [
        sorted(path.name for path in place.iterdir()) for place in (tmp_path / "folder", small)
    ]
    assert names[0] == names[1]
    with pytest.raises(SystemExit, match="^watersic: .*expected a new or empty folder"):
        watersic.transformers.main()
