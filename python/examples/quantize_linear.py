"""A torch.nn.Linear quantized given some of its inputs, and what its outputs lose: beside rounding
to the nearest, at the same bits a weight. Runs as a script, cell by cell in an editor (# %%).

    pip install . torch && python python/examples/quantize_linear.py
"""

# %% A layer, and inputs whose features are alike, as those of a language model's layers are.
import torch
import watersic

torch.manual_seed(1)
layer = torch.nn.Linear(256, 384, bias=True)
spread = torch.logspace(0, -1.5, 256)[torch.randperm(256)]  # some features are large
mix = torch.linalg.qr(torch.randn(256, 256))[0] * spread


def inputs(tokens):
    return torch.randn(tokens, 256) @ mix.T


# %% What the quantizer needs of the inputs is their second moment, E[x x^T].
calibration = inputs(4096)
S = calibration.T @ calibration / len(calibration)

# %% Weights are outputs x inputs, as torch has them.
rounded = {
    bits: watersic.quantize_matrix(layer.weight, S, bits=bits, method="rtn", group_size=64)
    for bits in (2, 3, 4)
}
ours = {
    bits: watersic.quantize_matrix(layer.weight, S, bits=result.bits.file)
    for bits, result in rounded.items()
}

# %% The error of the outputs for inputs that were not seen, over their power.
test = inputs(4096)
with torch.no_grad():
    expected = layer(test)

    def error(result):
        quantized = torch.nn.Linear(256, 384)
        quantized.weight.copy_(torch.from_numpy(result.dequantized))
        quantized.bias.copy_(layer.bias)
        return ((quantized(test) - expected).square().mean() / expected.square().mean()).item()

    print("bits a weight   error, rounded   error, watersic   above the limit, bits")
    for bits in rounded:
        print(
            f"{rounded[bits].bits.file:6.3f} {ours[bits].bits.file:6.3f} {error(rounded[bits]):16.5f}"
            f" {error(ours[bits]):17.5f} {ours[bits].gap:23.3f}"
        )
