"""One vocabulary for the distortions that the sets number or abbreviate, and what the name of a file tells."""

import re
from typing import Any

_ORDER = {
    "tid2013": "white_noise chroma_noise pink_noise masked_noise high_frequency_noise impulse_noise quantisation gaussian_blur denoise "
    "jpeg jpeg_2000 jpeg_transmission jpeg_2000_transmission non_eccentricity_patch colour_block mean_shift contrast_change "
    "colour_saturation multiplicative_noise comfort_noise noisy_compression dither chromatic_aberration sparse_sampling",
    "kadid": "gaussian_blur lens_blur motion_blur colour_diffusion colour_shift colour_quantisation colour_saturation_hsv "
    "colour_saturation_lab jpeg_2000 jpeg white_noise white_noise_ycbcr impulse_noise multiplicative_noise denoise brighten darken "
    "mean_shift jitter non_eccentricity_patch pixelate quantisation colour_block high_sharpen contrast_change",
}
_NUMBERED = {data_set: tuple(kinds.split()) for data_set, kinds in _ORDER.items()}
KADID = _NUMBERED["kadid"]
_NUMBERED |= {"tid2008": _NUMBERED["tid2013"][:17], "kadis": KADID}
_ALIASES = {
    "white_noise": "wn wnoise awgn noise noisegauss",
    "white_noise_ycbcr": "awgn_ycbcr noisecolorcomp",
    "pink_noise": "fnoise",
    "impulse_noise": "impluse_noise noiseimpulse",
    "multiplicative_noise": "multi_gaussian_noise noisemultiplicative",
    "gaussian_blur": "gblur blur",
    "lens_blur": "lblur",
    "motion_blur": "mblur",
    "jpeg_2000": "jp2k jpeg2000",
    "jpeg_transmission": "jpeg_transmission_error",
    "jpeg_2000_transmission": "jp2k_transmission_error",
    "fast_fading": "fastfading",
    "denoise": "denoising",
    "quantisation": "quantization quantization_noise noisequantize",
    "non_eccentricity_patch": "non_eccentricity_pattern_noise noneccentricity",
    "colour_block": "block_dist color_block colorblock",
    "mean_shift": "meanshift",
    "contrast_change": "contrast contrast_dist contrastchange",
    "colour_saturation": "saturation_dist",
    "colour_saturation_hsv": "saturation_dist_hsv colorsaturate",
    "colour_saturation_lab": "saturation_dist_lab saturate",
    "colour_diffusion": "color_diffusion colordiffuse",
    "colour_shift": "color_shift colorshift",
    "colour_quantisation": "color_quantization colorquantize",
    "dither": "dithering",
    "chromatic_aberration": "chroma_aberrations",
    "high_sharpen": "sharpenhi",
}
_READABLE = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
_COUNTED = re.compile(r"_(\d\d)_(\d\d?)\.\w+")  # I01_08_5.bmp
_DOTTED = re.compile(r"\.(\w+)\.(\d)\.\w+")  # 1600.AWGN.1.png


def readable(kind: str) -> str:
    """A kind under the name that all sets share, `GBLUR` as gaussian_blur; an unknown one in lower case with underscores."""
    plain = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_")
    return _READABLE.get(plain, plain)


def told(data_set: str, name: str) -> dict[str, Any]:
    """`kind` and `level` as the name of a set's distorted picture tells them; empty where it tells nothing.

    PIPAL's types have numbers alone, type_00 to type_06, and what it counts within a type is no level.
    """
    counted, dotted = _COUNTED.search(name), _DOTTED.search(name)
    if data_set == "csiq" and dotted:
        return {"kind": readable(dotted[1]), "level": int(dotted[2])}
    if data_set == "pipal" and counted:
        return {"kind": f"type_{counted[1]}"}
    kinds = _NUMBERED.get(data_set, ())
    if counted and 1 <= int(counted[1]) <= len(kinds):
        return {"kind": kinds[int(counted[1]) - 1], "level": int(counted[2])}
    return {}
