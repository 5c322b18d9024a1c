"""Pictures in every encoding: within 2 of the right 8-bit values, or one line."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from dact.errors import UserError
from dact.extraction import read_image
from dact.extraction.decoding import BACKGROUND

RAMP = np.tile(np.arange(0, 256, 4, np.uint8), (8, 1))
GREY = Image.fromarray(RAMP)
COLOURS = Image.fromarray(np.stack([RAMP, RAMP[:, ::-1], 255 - RAMP // 2], axis=2))


def read(folder, image, name, white=None, lenient=False, **options):
    """The values of `image`, or of an array, saved as `name` and read again."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(folder / name, **options)
    found = read_image(folder / name, white, lenient=lenient)
    assert found.mode == "RGB"
    return np.asarray(found, int)


def differ(found, right):
    return np.abs(found - np.asarray(right.convert("RGB"), int)).max()


WIDE = {
    "16 bits": (RAMP.astype(np.uint16) * 257, "a.png", None),
    "16 bits in a TIFF": (RAMP.astype(np.uint16) * 257, "a.tif", None),
    "16 bits, the other byte order": (RAMP.astype(">u2") * 257, "a.tif", None),
    "integers to 255": (RAMP.astype(np.int32), "a.tif", None),
    "integers to 65535": (RAMP.astype(np.int32) * 257, "a.tif", None),
    "floats to 1": (RAMP.astype(np.float32) / 255, "a.tif", None),
    "floats to 255": (RAMP.astype(np.float32), "a.tif", None),
    "floats to 65535": (RAMP.astype(np.float32) * 257, "a.tif", None),
    "12 bits of 16, said": (RAMP.astype(np.uint16) * 16, "a.png", 4080),
    "10 bits in integers, said": (RAMP.astype(np.int32) * 4, "a.tif", 1020),
    "floats to 40, said": (RAMP.astype(np.float32) / 255 * 40, "a.tif", 40),
}


@pytest.mark.parametrize("name", WIDE)
def test_wide_values_are_scaled_to_what_is_white(tmp_path, name):
    values, file, white = WIDE[name]
    assert differ(read(tmp_path, values, file, white), GREY) <= 2


@pytest.mark.parametrize("values", [np.uint16(0), np.int32(0), np.float32(0)])
def test_black_is_black_in_every_range(tmp_path, values):
    assert read(tmp_path, np.full((4, 4), values), "a.tif").max() == 0


@pytest.mark.parametrize("largest", [200, 4095, 65535])
def test_grey_of_16_bits_in_a_pgm_is_as_dark_as_it_says(tmp_path, largest):
    values = np.linspace(0, 200, 16, dtype=">u2").reshape(4, 4)
    (tmp_path / "a.pgm").write_bytes(b"P5 4 4 %d\n" % max(largest, 256) + values.tobytes())
    found = np.asarray(read_image(tmp_path / "a.pgm"), int)[..., 0]
    assert np.abs(found - values / (max(largest, 256) / 255)).max() <= 2


UNTOLD = {
    "12 bits of 16": RAMP.astype(np.uint16) * 16,
    "14 bits of 16": RAMP.astype(np.uint16) * 64,
    "8 bits of 16": RAMP.astype(np.uint16),
    "negative integers": RAMP.astype(np.int32) - 128,
    "integers to 4080": RAMP.astype(np.int32) * 16,
    "integers to 10": np.arange(110, dtype=np.int32).reshape(10, 11) % 11,
    "15 bits with a sign": RAMP.astype(np.int32) * 128,
    "large integers": RAMP.astype(np.int32) * 70000,
    "floats from -1": RAMP.astype(np.float32) / 128 - 1,
    "floats to 4": RAMP.astype(np.float32) / 64,
    "floats to 1000": RAMP.astype(np.float32) * 4,
    "no numbers": np.where(RAMP, RAMP / np.float32(255), np.float32("nan")),
}


@pytest.mark.parametrize("name", UNTOLD)
@pytest.mark.faults(
    "pictures whose values do not show which one is white",
    tried="fewer bits than their type, signs, NaN and odd ranges in 16- and 32-bit files",
    happened="one line names the range and the option that says it",
)
def test_a_range_that_cannot_be_told_is_one_line(tmp_path, name):
    with pytest.raises(UserError, match=r"a\.tif: its .*8 bits per channel") as raised:
        read(tmp_path, UNTOLD[name], "a.tif")
    assert "\n" not in str(raised.value)
    if name != "no numbers":
        assert "backbone.white=" in str(raised.value)
        read(tmp_path, UNTOLD[name], "a.tif", lenient=True)  # a report shows it all the same


def test_a_range_that_is_said_must_hold_the_values(tmp_path):
    with pytest.raises(UserError, match=r"its values are 0..4032, not 0..1023 \(white\)"):
        read(tmp_path, RAMP.astype(np.uint16) * 16, "a.png", 1023)


def write_png(path, values):
    """Colours or grey with alpha (H, W, 2 to 4) of 16 bits, which Pillow does not write."""
    height, width, channels = values.shape
    head = struct.pack(">2I5B", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
            for name, content in chunks
        )
    )


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_are_not_taken_for_darker_ones(tmp_path, channels):
    values = np.repeat(RAMP.astype(np.uint16)[..., None], channels, axis=2)
    if channels != 3:
        values[..., -1] = np.where(np.arange(8)[:, None] < 4, 255, 0)  # half of it is clear
    write_png(tmp_path / "a.png", values * 257)
    found = np.asarray(read_image(tmp_path / "a.png"), int)
    assert np.abs(found[:4, :, 0] - RAMP[:4]).max() <= 2
    dark = values * 16  # 12 bits of 16
    if channels != 3:
        dark[..., -1] = values[..., -1] * 257
    write_png(tmp_path / "a.png", dark)
    with pytest.raises(UserError, match="its 16-bit colours are dark or use fewer bits"):
        read_image(tmp_path / "a.png")
    found = np.asarray(read_image(tmp_path / "a.png", 65535), int)
    assert np.abs(found[:4, :, 0] - RAMP[:4] // 16).max() <= 1


SHOWN = (200, 60, 30)


def cut_out(mode, hidden):
    """A square that shows, in a picture of a hidden colour."""
    image = Image.new("RGBA", (16, 16), (*hidden, 0))
    image.paste((*SHOWN, 255), (4, 4, 8, 8))
    if mode == "P":
        image = Image.new("P", (16, 16), 0)
        image.putpalette([*hidden, *SHOWN])
        image.paste(1, (4, 4, 8, 8))
        image.info["transparency"] = 0
    elif mode == "RGB":  # one colour of all stands for clear
        image = image.convert("RGB")
        image.info["transparency"] = hidden
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *(("RGBA", f"a.{kind}") for kind in ("png", "tif", "webp")),
        *(("LA", f"a.{kind}") for kind in ("png", "tif")),
        *(("P", f"a.{kind}") for kind in ("png", "gif")),
        ("RGB", "a.png"),
    ],
)
def test_colours_under_full_transparency_make_no_difference(tmp_path, mode, name):
    lossless = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    kept = {"transparency": (1, 2, 3)} if mode == "RGB" else {}
    one = read(tmp_path, cut_out(mode, (1, 2, 3)), name, **lossless, **kept)
    kept = {"transparency": (240, 30, 250)} if mode == "RGB" else {}
    other = read(tmp_path, cut_out(mode, (240, 30, 250)), name, **lossless, **kept)
    assert np.array_equal(one, other)
    assert one[0, 0].tolist() == list(BACKGROUND)
    shown = SHOWN if mode != "LA" else Image.new("RGB", (1, 1), SHOWN).convert("L").getpixel((0, 0))
    assert np.abs(one[5, 5] - shown).max() <= 1


def test_half_transparent_colours_are_mixed_with_the_background(tmp_path):
    found = read(tmp_path, Image.new("RGBA", (4, 4), (200, 0, 100, 51)), "a.png")
    assert np.abs(found[0, 0] - (244, 204, 224)).max() <= 1


def test_one_clear_value_of_16_bits_shows_the_background(tmp_path):
    values = RAMP.astype(np.uint16) * 257
    found = read(tmp_path, values, "a.png", transparency=int(values[0, 5]))
    assert (found[:, 5] == BACKGROUND).all()
    assert differ(np.delete(found, 5, 1), Image.fromarray(np.delete(RAMP, 5, 1))) <= 2


def test_opaque_pictures_keep_their_very_values(tmp_path):
    opaque = COLOURS.convert("RGBA")
    assert differ(read(tmp_path, opaque, "a.png"), COLOURS) == 0


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [
        ("CMYK", "a.tif", {}),
        ("YCbCr", "a.jpg", {"quality": 100, "subsampling": 0}),
        ("LAB", "a.tif", {}),
        ("L", "a.png", {}),
        ("1", "a.png", {}),
        ("P", "a.png", {}),
        ("CMYK", "a.jpg", {"quality": 100, "subsampling": 0}),
    ],
)
def test_other_colour_spaces(tmp_path, mode, name, options):
    smooth = Image.new("RGB", (16, 16), (100, 140, 190))
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(smooth, srgb, lab, outputMode="LAB")
    else:
        image = smooth.convert(mode)
    right = smooth if mode in ("LAB", "YCbCr", "CMYK") else image
    assert differ(read(tmp_path, image, name, **options), right) <= 2


def swapped(profile):
    """The profile of a screen with sRGB's green for its red and the other way round."""
    tags = {profile[n : n + 4]: n + 4 for n in range(132, 132 + 12 * profile[131], 12)}
    red, green = (int.from_bytes(profile[tags[t] :][:4]) for t in (b"rXYZ", b"gXYZ"))
    other = bytearray(profile.replace(b"\0s\0R\0G\0B", b"\0s\0c\0r\0n"))
    other[red : red + 20], other[green : green + 20] = (
        profile[green : green + 20],
        profile[red : red + 20],
    )
    return bytes(other)


def test_a_wide_colour_profile_is_converted_and_srgb_left_alone(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert differ(read(tmp_path, COLOURS, "a.png", icc_profile=srgb), COLOURS) == 0
    assert differ(read(tmp_path, COLOURS, "a.png", icc_profile=b"broken"), COLOURS) == 0
    red, green, blue = COLOURS.split()
    right = Image.merge("RGB", (green, red, blue))
    for image in (COLOURS, COLOURS.convert("RGBA")):
        assert differ(read(tmp_path, image, "a.png", icc_profile=swapped(srgb)), right) <= 2
    palette = COLOURS.quantize(256)
    red, green, blue = palette.convert("RGB").split()
    right = Image.merge("RGB", (green, red, blue))
    assert differ(read(tmp_path, palette, "a.png", icc_profile=swapped(srgb)), right) <= 2


def test_the_first_frame_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    for name in ("a.png", "a.tif", "a.webp"):
        assert read(tmp_path, COLOURS, name, exif=exif).shape == (64, 8, 3)
    frames = [Image.new("RGB", (4, 4), (value, value, value)) for value in (200, 30)]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        found = read(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        assert np.abs(found - 200).max() <= 2, name
