"""Pictures for a camera."""

import io

import numpy
from PIL import Image


def picture(width: int, height: int, seed: int = 1) -> numpy.ndarray:
    """A picture of soft shapes, which a camera could have taken."""
    numbers = numpy.random.default_rng(seed)
    coarse = Image.fromarray(numbers.integers(0, 255, (9, 12, 3), dtype=numpy.uint8))
    soft = numpy.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return numpy.clip(soft + numbers.integers(-12, 12, soft.shape), 0, 255).astype(numpy.uint8)


def encoded(pixels: numpy.ndarray, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()
