"""A stream whitened update by update is the stretch whitened at once."""

import pytest
import torch
from preprocessing import StreamingWhitening, WhiteningRecipe, whiten

RECIPE = WhiteningRecipe(
    sample_rate=256, psd_length=8, fftlength=2, fduration=1, update_length=2, highpass=20
)


def stream(strain: torch.Tensor, module: StreamingWhitening) -> torch.Tensor:
    """Whitened strain of all updates after the warm-up."""
    padded = torch.nn.functional.pad(strain[None], (module.lead_in, 0))
    state = torch.zeros(1, strain.shape[0], module.history_size)
    found = []
    for number in range(padded.shape[-1] // module.update_size):
        first = number * module.update_size
        whitened, state = module(padded[..., first : first + module.update_size], state)
        if number >= module.warm_up:
            found.append(whitened[0])
    return torch.cat(found, dim=-1)


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
def test_stream_equals_stretch(num_blocks):
    generator = torch.Generator().manual_seed(1)
    strain = torch.randn(2, 40 * 256, generator=generator) * 1e-21
    # a louder end, so that the PSDs differ from block to block
    strain[:, 20 * 256 :] *= 3
    expected = whiten(strain, RECIPE).values
    module = StreamingWhitening(RECIPE, num_blocks)
    found = stream(strain, module)
    assert found.shape[-1] > 20 * 256
    difference = (found - expected[:, : found.shape[-1]]).abs().max()
    assert float(difference) < 1e-5 * float(expected.abs().max())


def test_state_forgets_after_the_warm_up():
    """What lies further back than the state reaches changes nothing."""
    module = StreamingWhitening(RECIPE)
    generator = torch.Generator().manual_seed(2)
    strain = torch.randn(2, 40 * 256, generator=generator) * 1e-21
    other = strain.clone()
    other[:, : 256 * 4] *= 2
    first, second = stream(strain, module), stream(other, module)
    # blocks whose PSD begins after the change
    after = 256 * 4
    assert torch.equal(first[:, after:], second[:, after:])
    assert not torch.equal(first[:, :after], second[:, :after])
