import numpy as np
import pytest
import watersic

OPTIONS = {"trellis": 0, "coder": "pooled", "threads": 1}


def test_result_keeps_its_promises(layer):
    W, S = layer
    result = watersic.quantize_matrix(W, S, bits=3, **OPTIONS)
    V = result.dequantized
    assert V.dtype == np.float32 and V.shape == W.shape == result.shape
    error = W - V
    assert result.distortion == pytest.approx(np.trace(error @ S @ error.T) / W.size, rel=1e-4)
    assert result.bits.file == pytest.approx(8 * len(result.payload) / W.size)
    assert result.bits.file == pytest.approx(3, abs=0.1) and float(result.bits) == result.bits.file
    assert result.bits.file == pytest.approx(result.bits.coded + result.bits.side)
    assert result.gap == pytest.approx(result.bits.coded - result.limit_bits)
    assert result.method == "watersic" and result.seconds >= 0 and "48 x 32" in repr(result)


def test_dequantized_outlives_its_result(layer):
    V = watersic.quantize_matrix(*layer, **OPTIONS).dequantized
    copy = V.copy()
    for seed in range(3):
        watersic.quantize_matrix(*layer, seed=seed, **OPTIONS)
    assert (V == copy).all()


def test_same_weights_in_any_dress_give_the_same_bytes(layer):
    W, S = layer
    W = W.astype(np.float16)  # so that every type holds it
    expected = watersic.quantize_matrix(W, S, **OPTIONS).payload
    wide = np.zeros((2 * W.shape[0], 3 * W.shape[1]), np.float32)
    wide[::2, ::3] = W
    backward = np.ascontiguousarray(W[::-1, ::-1])[::-1, ::-1]
    read_only = W.astype(np.float64)
    read_only.setflags(write=False)
    dresses = [
        W.astype(np.float32),
        W.astype(np.longdouble),
        W.astype(">f8"),
        np.asfortranarray(W),
        wide[::2, ::3],
        backward,
        read_only,
        W.tolist(),
        memoryview(W.astype(np.float32)),
    ]
    for dress in dresses:
        assert watersic.quantize_matrix(dress, S, **OPTIONS).payload == expected
    assert watersic.quantize_matrix(W, np.asfortranarray(S), **OPTIONS).payload == expected


def test_tensors_of_torch(layer):
    torch = pytest.importorskip("torch", reason="needs torch")
    W, S = layer
    coarse = torch.tensor(W, dtype=torch.float32).bfloat16()
    expected = watersic.quantize_matrix(coarse.float().numpy(), S, **OPTIONS).payload
    weight = torch.nn.Parameter(coarse.float())
    for tensor in (coarse, weight, coarse.double(), coarse.t().contiguous().t()):
        given = watersic.quantize_matrix(tensor, torch.tensor(S), **OPTIONS)
        assert given.payload == expected
    with pytest.raises(TypeError, match="weights: expected an array in the CPU's memory"):
        watersic.quantize_matrix(coarse.to("meta"), S)
    with pytest.raises(TypeError, match="float16, bfloat16, float32 or float64"):
        watersic.quantize_matrix(torch.ones(4, 4, dtype=torch.int32), np.eye(4))


def test_options_of_the_command_line(layer):
    result = watersic.quantize_matrix(*layer, bits=4, method="gptq", group_size=16, damping=0.05)
    assert result.method == "gptq" and result.damping == pytest.approx(0.05)
    default = watersic.quantize_matrix(*layer, **OPTIONS).payload
    assert (
        watersic.quantize_matrix(*layer, lmmse=None, rescalers=True, **OPTIONS).payload == default
    )
    assert watersic.quantize_matrix(*layer, rescalers=False, **OPTIONS).payload != default
    metric = np.diag(np.linspace(0.1, 3, 48))
    weighted = watersic.quantize_matrix(*layer, output_metric=metric, **OPTIONS)
    assert weighted.weighted_distortion > 0 and weighted.payload != default
    for name in ("method", "dead_threshold", "trellis"):
        assert f"{name}=" in watersic.quantize_matrix.__doc__


@pytest.mark.parametrize(
    "error, message, change",
    [
        (TypeError, "unexpected option 'bit'", {"bit": 2}),
        (TypeError, "method: expected a number, a text", {"method": object()}),
        (watersic.Error, "method: expected watersic or", {"method": "awq"}),
        (watersic.Error, "bits: expected", {"bits": 99}),
        (watersic.Error, "bits: expected", {"bits": float("nan")}),
        (watersic.Error, "bits: expected a number", {"bits": "two"}),
        (watersic.Error, "group-size", {"group_size": 8}),
        (watersic.Error, "threads: expected 0 to 4096", {"threads": -1}),
        (TypeError, "weights: expected float16", {"W": np.ones((48, 32), int)}),
        (TypeError, "weights: expected float16", {"W": np.ones((48, 32), complex)}),
        (TypeError, "weights: expected float16", {"W": "a text"}),
        (ValueError, "weights: expected an array of 2 dimensions, found 1", {"W": np.ones(32)}),
        (
            ValueError,
            "weights: expected an array of 2 dimensions, found 3",
            {"W": np.ones((2, 4, 32))},
        ),
        (ValueError, "weights: expected an array of 2 dimensions, found 0", {"W": 1.5}),
        (watersic.Error, "weights: expected a matrix, found 0 x 32", {"W": np.ones((0, 32))}),
        (
            watersic.Error,
            "weights: expected finite values, found nan",
            {"W": np.full((48, 32), np.nan)},
        ),
        (
            watersic.Error,
            "weights: expected finite values, found inf",
            {"W": np.full((48, 32), 1e300)},
        ),
        (watersic.Error, "covariance: expected 32 x 32", {"S": np.eye(31)}),
        (watersic.Error, "covariance: expected a symmetric", {"S": np.tri(32)}),
        (watersic.Error, "covariance: expected no negative", {"S": -np.eye(32)}),
        (watersic.Error, "covariance: expected finite", {"S": np.full((32, 32), np.inf)}),
        (watersic.Error, "output metric: expected 48 x 48", {"output_metric": np.eye(32)}),
        (TypeError, "output metric: expected float16", {"output_metric": np.eye(48, dtype=bool)}),
    ],
)
def test_what_makes_no_sense_is_refused(layer, error, message, change):
    arguments = {"W": layer[0], "S": layer[1]} | change
    with pytest.raises(error, match=message) as caught:
        watersic.quantize_matrix(**arguments)
    assert "\n" not in str(caught.value)
    assert issubclass(watersic.Error, ValueError)
