import torchvision


def test_torch_and_torchvision_are_builds_of_each_other():
    assert torchvision.extension._has_ops()
