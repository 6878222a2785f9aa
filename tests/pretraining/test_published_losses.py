"""Losses beside published ones: in range, beyond it, and where nothing is published."""

import math

import pytest

from bertie.pretraining.published_losses import compare, usual_losses


def test_ranges_are_the_published_ones_and_lie_on_a_line_between() -> None:
    assert usual_losses(1e7) == (math.log(10.78), math.log(11.58))
    lowest, highest = usual_losses(10**7.5) or (0.0, 0.0)
    assert lowest == pytest.approx((math.log(10.78) + math.log(4.61)) / 2)
    assert highest == pytest.approx((math.log(11.58) + math.log(5.02)) / 2)
    assert usual_losses(9e5) is usual_losses(2e9) is None


@pytest.mark.parametrize(("loss", "place"), [(2.5, "above"), (2.4, "within"), (2.3, "below")])
def test_a_loss_is_compared(loss: float, place: str) -> None:
    assert f", is {place} the 2.38 to 2.45 that 10,000,000 tokens of data have given RoBERTa" in compare(loss, 1e7)
    assert compare(loss, 1e5) == ""
