"""A picture in a file as 8-bit RGB, whatever its encoding."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dact.errors import UserError

try:
    from PIL import ImageCms
except ImportError:  # a Pillow that was built without Little CMS
    ImageCms = None

#: What is seen through transparent pixels.
BACKGROUND = (255, 255, 255)
#: Modes of Pillow whose values are not 8 bits wide.
_WIDE = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
#: By kind of value, the largest values (low, high) that show which value is white: `high`. Below a
#: quarter of it a picture may as well be a bright one of another range.
_RANGES = {
    "integers": ((64, 255), (32768, 65535)),
    "16-bit integers": ((16384, 65535),),
    "floats": ((0, 1), (64, 255), (16384, 65535)),
}
#: Largest integer that is black, within 2 of 255, in every range.
_BLACK = 2
#: Tags of TIFF, and the value of the first one that means that 0 is white.
_PHOTOMETRIC, _BITS, _WHITE_IS_ZERO = 262, 258, 0


def read_image(path: Path, white: float | None = None, *, lenient: bool = False) -> Image.Image:
    """The picture in a file as RGB of 8 bits per channel, upright.

    Of an animation it is the first frame. Transparent pixels show `BACKGROUND`, so that colours
    that nobody sees make no difference. A colour profile is converted to sRGB.

    Args:
        path: of the file.
        white: value that is white in pictures of more than 8 bits a channel; None: 255 or 65535 for
            integers, and 1 as well for floats, as the values show.
        lenient: for showing only: where the values do not show it, the largest one is white.

    Raises:
        UserError: the file cannot be read, or its values do not show which one is white.
    """
    try:
        with Image.open(path) as image:
            wide = _is_reduced(image)
            upright = ImageOps.exif_transpose(image)
            if upright.mode in _WIDE:
                inverted = _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
                upright = _narrowed(upright, white or _white_of(image), lenient, inverted)
            seen = _on_background(upright)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file raises nearly anything
        reason = getattr(error, "strerror", None) or str(error).partition(": ")[0]
        raise UserError(f"{path} cannot be read as an image: {reason}") from error
    if wide and white != 65535 and not lenient and _looks_dark(upright):
        raise UserError(
            f"{path}: its 16-bit colours are dark or use fewer bits, which cannot be told: save it "
            "with 8 bits per channel, or give backbone.white=65535 if it is dark"
        )
    return seen


def _narrowed(
    image: Image.Image, white: float | None, lenient: bool, inverted: bool
) -> Image.Image:
    """A greyscale picture of wide values in 8 bits, with alpha where one value is transparent."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise UserError("its values are not all finite: save the picture with 8 bits per channel")
    least, largest = float(values.min()), float(values.max())
    if white is None:
        white = max(largest, 1.0) if lenient else _find_white(image.mode, least, largest, inverted)
    elif (least < 0 or largest > white) and not lenient:
        raise UserError(f"its values are {least:g}..{largest:g}, not 0..{white:g} (white)")
    if white == 65535 and image.mode != "F":
        narrow = (values >> 8).clip(0, 255).astype(np.uint8)
    else:
        narrow = np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8)
    grey = Image.fromarray(255 - narrow if inverted else narrow)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _find_white(mode: str, least: float, largest: float, inverted: bool) -> float:
    """The value that is white, as the largest value shows it.

    Raises:
        UserError: it does not show it.
    """
    kind = {"F": "floats", "I": "integers"}.get(mode, "16-bit integers")
    if least >= 0:
        for low, high in _RANGES[kind]:
            if low <= largest <= high:
                return float(high)
        if kind != "floats" and largest <= _BLACK and not inverted:
            return 255.0
    raise UserError(
        f"its {kind} are {least:g}..{largest:g}, which does not show which value is white: give "
        "backbone.white=VALUE (255, 4095 or 65535, for instance), or save it with 8 bits per "
        "channel"
    )


def _white_of(image: Image.Image) -> float | None:
    """The value that is white by the file's own words: TIFF of 9 to 15 bits says how many, and
    values of PGM's are scaled to 65535.
    """
    if image.format == "PPM" and image.mode == "I":
        return 65535.0
    bits = _tag(image, _BITS)
    bits = bits[0] if isinstance(bits, tuple) and bits else bits
    return float(2**bits - 1) if isinstance(bits, int) and 8 < bits < 16 else None


def _is_reduced(image: Image.Image) -> bool:
    """Whether Pillow keeps the upper 8 of 16 bits of each channel; asked before it loads."""
    tiles = getattr(image, "tile", [])
    return image.mode not in _WIDE and any(";16" in str(tile[3]) for tile in tiles)


def _looks_dark(image: Image.Image) -> bool:
    """Whether what is seen, without the background, is dark but not black."""
    pixels = np.asarray(image.convert("RGBA"))
    return _BLACK < pixels[pixels[..., 3] > 0, :3].max(initial=0) < 64


def _tag(image: Image.Image, number: int) -> object:
    return getattr(image, "tag_v2", {}).get(number)


def _on_background(image: Image.Image) -> Image.Image:
    """RGB; what is under transparent pixels makes no difference."""
    if not image.has_transparency_data:
        return _in_srgb(image)
    image.apply_transparency()
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, which Pillow has reduced to 8
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    profile = image.info.get("icc_profile")
    straight = image.convert("RGBA")
    seen = straight.convert("RGB")
    alpha = straight.getchannel("A")
    if profile and image.mode not in ("L", "LA", "La"):
        seen.info["icc_profile"] = profile
        seen = _in_srgb(seen)
    if alpha.getextrema() == (255, 255):
        return seen
    return Image.composite(seen, Image.new("RGB", image.size, BACKGROUND), alpha)


def _in_srgb(image: Image.Image) -> Image.Image:
    """RGB, by the picture's colour profile where it has one that is not sRGB's own."""
    if ImageCms is None:
        return image.convert("RGB")
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        transform = ImageCms.buildTransform(lab, ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return ImageCms.applyTransform(image, transform)
    profile = image.info.get("icc_profile")
    if image.mode == "P":
        image = image.convert("RGB")
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image.convert("RGB")
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(own):
            return image.convert("RGB")
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, own, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # broken, or of another kind: viewers ignore it, too
        return image.convert("RGB")
