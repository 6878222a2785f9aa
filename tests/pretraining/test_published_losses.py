"""Losses compared with published ones: within the range, outside it, and where nothing is published."""

import math

import pytest

from bertie.pretraining.published_losses import compare, published_range


def test_ranges_are_interpolated_between_the_published_ones() -> None:
    assert published_range(1e7) == (math.log(10.78), math.log(11.58))
    lowest, highest = published_range(10**7.5) or (0.0, 0.0)
    assert lowest == pytest.approx((math.log(10.78) + math.log(4.61)) / 2)
    assert highest == pytest.approx((math.log(11.58) + math.log(5.02)) / 2)
    assert published_range(9e5) is published_range(2e9) is None


@pytest.mark.parametrize(("loss", "place"), [(2.5, "above"), (2.4, "within"), (2.3, "below")])
def test_a_loss_is_compared(loss: float, place: str) -> None:
    said = f", is {place} the range 2.38 to 2.45 that is published for 10,000,000 tokens of data: RoBERTa"
    assert said in compare(loss, 1e7)
    assert compare(loss, 1e5) == ""
