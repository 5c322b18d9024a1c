"""Image features: pictures in, the file that `CLEVRDataModule` reads out."""

from .backbones import Backbone, load_backbone
from .decoding import read_image
from .extract import choose_devices, describe_backbone, extract
from .feature_file import FeatureFile
from .images import find_images, find_others, to_tensor

__all__ = [
    "Backbone",
    "FeatureFile",
    "choose_devices",
    "describe_backbone",
    "extract",
    "find_images",
    "find_others",
    "load_backbone",
    "read_image",
    "to_tensor",
]
