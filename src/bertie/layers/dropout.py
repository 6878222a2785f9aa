"""The dropout of BERT's layers: PyTorch's module, with cheaper random numbers on a CPU."""

from torch import Tensor, nn

from bertie.dropout import dropout


class Dropout(nn.Dropout):
    """``torch.nn.Dropout`` by another generator: the same probabilities, other draws."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training and self.p > 0 else x
