import json
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import watersic
from conftest import TEMPLATE


def test_a_model_knows_itself(model, wsic):
    assert model.name == str(wsic) and model.architecture == "LlamaForCausalLM"
    assert (model.context, model.vocabulary) == (128, 4096)
    assert model.model_id == watersic.inspect(wsic)["model_id"]
    assert model.memory().weights > 0 and "small.wsic" in repr(model)
    ids = model.tokenize("It was a dark")
    assert ids[0] == 4094 and ids[1:] == model.tokenize("It was a dark", special=False)
    assert model.detokenize(np.array(ids[1:])) == "It was a dark"
    assert model.detokenize(ids) == "<|begin_of_text|>It was a dark"
    # A token may be half of a character.
    halves = model.tokenize("\U0001f600", special=False)
    assert len(halves) > 1 and model.detokenize(halves) == "\U0001f600"
    assert "\ufffd" in model.detokenize(halves[:-1])
    assert json.loads(model.text("tokenizer_config.json"))["chat_template"] == TEMPLATE
    assert model.text("nothing.json") is None
    assert (model.first_token, model.ends) == (4094, [4095])


def test_streams_are_pieces_of_what_is_written(model):
    for prompt in ("It was", model.tokenize("It was"), np.array(model.tokenize("It was"))):
        whole = model.generate(prompt, 20, temperature=0)
        stream = model.generate(prompt, 20, temperature=0, stream=True)
        pieces = list(stream)
        assert "".join(pieces) == whole and len(pieces) > 1
        assert model.detokenize(stream.result.ids) == whole
        assert stream.result.prompt == model.tokenize("It was")
    assert model.generate("It was", 20, seed=5) == model.generate("It was", 20, seed=5)
    assert model.generate("It was", 20, seed=5) != model.generate("It was", 20, seed=6)
    assert isinstance(model.generate("", 3), str)
    assert len(list(model.generate("It was", stream=True))) > 20  # what the context leaves


def test_a_closed_stream_stops(model):
    with model.generate("It was", 100, stream=True) as stream:
        next(stream)
    assert list(stream) == []
    # Its thread was stopped, too: nothing is written any more.
    assert stream.result is None or len(stream.result.ids) < 100 or not stream.result.ended
    stream = model.generate("It was", 100, stream=True)
    next(stream)
    del stream
    before = threading.active_count()
    assert model.generate("It was", 5, temperature=0)
    assert threading.active_count() == before


def test_stops(model):
    whole = model.generate("It was", 30, temperature=0)
    for stop in (whole[5:8], whole[10:11], [whole[7:12], "nowhere"], whole[-2:]):
        first = min(
            at for at in map(whole.find, [stop] if isinstance(stop, str) else stop) if at >= 0
        )
        assert model.generate("It was", 30, temperature=0, stop=stop) == whole[:first]
        pieces = list(model.generate("It was", 30, temperature=0, stop=stop, stream=True))
        assert "".join(pieces) == whole[:first] and "" not in pieces
    assert model.generate("It was", 30, temperature=0, stop="\0never") == whole
    with pytest.raises(ValueError, match="stop: expected texts"):
        model.generate("It was", stop=[""])


def test_conversations(model):
    said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    answer = model.chat(said, 8, temperature=0)
    assert model.detokenize(model.chat_tokens(said)).endswith("Be kind.\nuser: Hello\nassistant: ")
    assert answer == model.generate(model.chat_tokens(said), 8, temperature=0)
    text = model.chat_text(said)
    assert model.tokenize(text, special=False) == model.chat_tokens(said)
    assert model.chat_text(said, open=False) + "assistant: " == text
    parts = [said[0], {"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    assert model.chat(parts, 8, temperature=0) == answer
    assert "".join(model.chat(said, 8, temperature=0, stream=True)) == answer
    assert model.chat("Hello", 3, temperature=0) == model.chat(said[1:], 3, temperature=0)
    for bad in (
        [],
        [{"role": "robot", "content": "x"}],
        ["Hello"],
        [{"role": "user", "content": 3}],
    ):
        with pytest.raises((TypeError, ValueError), match="messages: expected"):
            model.chat(bad)


def test_logits_scores_and_perplexity_agree(model, wsic):
    ids = model.tokenize("It was the best of times")
    logits = model.logits(ids)
    assert logits.shape == (len(ids), 4096) and logits.dtype == np.float32
    assert (model.logits("It was the best of times") == logits).all()
    wide = logits.astype(np.float64)
    log_p = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    (scores, likeliest), (last, _) = model.score([(ids, 1), (ids, len(ids) - 1)])
    expected = log_p[np.arange(len(ids) - 1), ids[1:]]
    # Packed: inputs are rounded to 8 bits, which tells small differences of rounding apart.
    assert scores == pytest.approx(expected, abs=0.05) and scores.dtype == np.float64
    assert likeliest == (logits[:-1].argmax(axis=1) == ids[1:]).tolist()
    assert last == pytest.approx(scores[-1:], abs=0.05)
    perplexity = model.perplexity("It was the best of times")
    assert perplexity == pytest.approx(np.exp(-scores.mean()), rel=0.02)
    assert model.logits([]).shape == (0, 4096)
    exact, plain = (
        watersic.load(wsic, weights=weights, threads=1) for weights in ("exact", "float32")
    )
    assert np.abs(exact.logits(ids) - plain.logits(ids)).max() < 1e-3


def test_perplexity_is_that_of_an_evaluation(wsic, tmp_path):
    text = "It was the best of times, it was the worst of times. " * 20
    (tmp_path / "text.txt").write_text(text)
    expected = watersic.evaluate(wsic, tmp_path / "text.txt", context=50)["perplexity"]
    plain = watersic.load(wsic, weights="float32")
    assert plain.perplexity(text, context=50) == pytest.approx(expected, rel=1e-4)


def test_tensors_are_those_of_the_export(model, wsic, tmp_path):
    watersic.export(wsic, tmp_path / "folder", to="safetensors", dtype="f32")
    exported = watersic.load(tmp_path / "folder").tensors()
    tensors = model.tensors()
    assert list(tensors) == list(exported) and len(tensors) == 21  # with a head of its own
    for name, values in tensors.items():
        assert values.dtype == np.float32 and values.shape == tensors.shape(name)
        assert (values == exported[name]).all(), name
    assert tensors["model.norm.weight"].shape == (64,)
    with pytest.raises(KeyError):
        tensors["basis"]


def test_layers_multiply(model):
    rng = np.random.default_rng(1)
    for name in ("model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"):
        V, layer = model.tensors()[name], model.layer(name)
        X = rng.standard_normal((5, V.shape[1]))
        expected = X @ V.T
        assert np.abs(layer.apply(X) - expected).max() < 0.02 * np.abs(expected).max()
        assert (
            layer.apply(X.astype(np.float32).T.copy().T) == layer.apply(X.astype(np.float32))
        ).all()
        assert (layer.outputs, layer.inputs) == V.shape and not layer.has_bias
    embedding = model.layer("model.embed_tokens.weight")
    assert (
        np.abs(embedding.rows([5, 0]) - model.tensors()["model.embed_tokens.weight"][[5, 0]]).max()
        < 0.01
    )
    for bad, message in (
        (np.ones((2, 63)), "inputs of 64 features"),
        (np.full((2, 64), np.nan), "finite inputs"),
        (np.ones(64), "2 dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            model.layer("model.layers.0.self_attn.q_proj.weight").apply(bad)
    with pytest.raises(watersic.Error, match="rows below 4096"):
        embedding.rows([4096])
    with pytest.raises(watersic.Error, match="found a vector"):
        model.layer("model.norm.weight")


@pytest.mark.parametrize(
    "error, message, call",
    [
        (watersic.Error, "at most 128 tokens", lambda m: m.logits([1] * 129)),
        (watersic.Error, "below the vocabulary's 4096", lambda m: m.logits([4096])),
        (ValueError, "ids: expected 0 to", lambda m: m.logits([-1])),
        (ValueError, "ids: expected 0 to", lambda m: m.logits([2**31])),
        (ValueError, "ids: expected one dimension", lambda m: m.logits([[1, 2]])),
        (TypeError, "ids: expected integers", lambda m: m.logits([1.5])),
        (watersic.Error, "before those that are scored", lambda m: m.score([([1, 2], 2)])),
        (watersic.Error, "at least two tokens", lambda m: m.perplexity("")),
        (
            watersic.Error,
            "context: expected at most 128",
            lambda m: m.perplexity("It was", context=129),
        ),
        (watersic.Error, "less than 128 tokens", lambda m: m.generate([1] * 128)),
        (watersic.Error, "has room for", lambda m: m.generate("It was", 128)),
        (watersic.Error, "max_tokens: expected", lambda m: m.generate("It was", -1)),
        (TypeError, "unexpected option 'colour'", lambda m: m.generate("It was", colour=1)),
        (TypeError, "incompatible|type", lambda m: m.generate("It was", top_k="many")),
        (watersic.Error, "temperature", lambda m: m.generate("It was", temperature=-1)),
        (watersic.Error, "expected 16 or 32 or 8", lambda m: m.generate("It was", cache="4")),
        (watersic.Error, "below the vocabulary's", lambda m: m.generate([5000], 3)),
        (
            watersic.Error,
            "expected packed or exact or float32",
            lambda m: watersic.load(m.name, weights="x"),
        ),
    ],
)
def test_what_makes_no_sense_is_refused(model, error, message, call):
    with pytest.raises(error, match=message):
        call(model)


def test_threads_do_not_disturb_each_other(model, layer):
    """Everything at once gives what it gives alone."""
    work = [
        lambda: model.generate("It was", 30, seed=1),
        lambda: model.generate("Call me", 30, seed=2),
        lambda: "".join(model.generate("Once upon", 30, seed=3, stream=True)),
        lambda: model.logits("It was the best of times").tobytes(),
        lambda: model.perplexity("It was the worst of times"),
        lambda: model.tensors()["model.embed_tokens.weight"].tobytes(),
        lambda: model.layer("model.layers.0.mlp.up_proj.weight").apply(np.ones((3, 64))).tobytes(),
        lambda: watersic.quantize_matrix(*layer, trellis=0, coder="pooled", threads=2).payload,
    ]
    alone = [job() for job in work]
    together = [None] * (2 * len(work))

    def run(i):
        together[i] = work[i % len(work)]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(together))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone + alone


def test_a_program_may_end_while_a_text_is_written(wsic):
    program = textwrap.dedent(
        f"""
        import watersic
        model = watersic.load({str(wsic)!r}, threads=1)
        stream = model.generate("It was", 120, stream=True)
        print(len(next(stream)) > 0)
        """
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert time.monotonic() - start < 30
