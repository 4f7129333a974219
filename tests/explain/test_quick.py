"""Quick linear layers give what linear layers give."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pellucid.explain.quick import QuickLinear, available


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(300, 64), (7, 50, 64), (1, 64)])
def test_result_and_gradient_are_those_of_torch(shape, bias):
    layer = nn.Linear(64, 48, bias=bias).requires_grad_(False)
    x = torch.randn(*shape, requires_grad=True)
    weights = torch.randn(*shape[:-1], 48)
    with QuickLinear():
        quick = layer(x)
    (ours,) = torch.autograd.grad((quick * weights).sum(), x)
    plain = layer(x)
    (theirs,) = torch.autograd.grad((plain * weights).sum(), x)
    torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_it_is_taken_where_it_may_be_and_only_there():
    def took(call):
        with QuickLinear():
            found = call()
        return "_Linear" in type(found.grad_fn).__name__

    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(3, 8)
    assert took(lambda: F.linear(x, weight)) == available()
    assert not took(lambda: F.linear(x, weight.clone().requires_grad_()))  # its gradient is wanted
    assert not took(lambda: F.linear(x.bfloat16(), weight.bfloat16()))
    assert not took(lambda: F.linear(x[0], weight))
    assert not took(lambda: F.linear(x, weight=weight))


def test_a_row_is_the_same_among_few_and_many():
    layer = nn.Linear(300, 20).requires_grad_(False)
    x = torch.randn(512, 300)
    with QuickLinear():
        few, many = layer(x[:3]), layer(x)
    torch.testing.assert_close(few, many[:3], rtol=1e-6, atol=1e-7)
