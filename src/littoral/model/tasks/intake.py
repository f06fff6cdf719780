"""What a picture model takes: read once from its signature and manifest, used for every picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.tensor import Array, TensorSpec, dtype_of
from littoral.model.engine import Quantization
from littoral.model.manifest import InputSection, Layout
from littoral.model.tasks.fit import Placement, place
from littoral.model.tasks.picture import Picture, open_picture
from littoral.model.tasks.pixels import DATATYPES, PixelMap, pixel_map
from littoral.model.tasks.sample import sample
from littoral.model.tasks.task import Prepared


@dataclass(frozen=True, slots=True)
class Intake:
    """Encoded bytes to the model's one input tensor: `channels` (3, or 1 for grey) x `height` x `width`."""

    width: int
    height: int
    channels: int
    planar: bool
    section: InputSection
    pixels: PixelMap

    def prepare(self, image: bytes) -> Prepared:
        """As `Task.prepare`."""
        picture, section = open_picture(image), self.section
        placement = place(section.resize, picture.size, (self.width, self.height), crop_fraction=section.crop_fraction)
        shown = show(picture, placement, grey=self.channels == 1, antialias=section.antialias)
        channels = np.broadcast_to(shown, (*shown.shape[:2], 4))[..., : self.channels]  # [height, width, channels]
        if section.colour == "BGR":
            channels = channels[..., ::-1]
        return Prepared((self._tensor(channels, placement),), placement.frame)

    def _tensor(self, channels: Array, placement: Placement) -> Array:
        """The input with the pixels in their place and the letterbox's grey around them."""
        shape = (self.channels, self.height, self.width) if self.planar else (self.height, self.width, self.channels)
        made = np.empty((1, *shape), dtype_of(self.pixels.datatype))
        planes = made[0] if self.planar else made[0].transpose(2, 0, 1)  # [channels, height, width]
        if channels.shape[:2] != (self.height, self.width):
            self.pixels.fill(planes, np.full((1, 1, self.channels), self.section.pad, np.uint8))
        down = slice(placement.top, placement.top + placement.height)
        across = slice(placement.left, placement.left + placement.width)
        self.pixels.fill(planes[:, down, across], channels)
        return made


def show(picture: Picture, placement: Placement, *, grey: bool, antialias: bool) -> Array:
    """The placement's pixels, UINT8 [height, width, 1 or 4], turned as a viewer shows them."""
    frame = placement.frame
    wanted = frame.width * frame.scale_x, frame.height * frame.scale_y
    pixels = picture.decode(wanted, grey=grey, antialias=antialias)
    rows, columns = placement.rows(), placement.columns()
    across, down = picture.size
    if picture.sideways:
        rows, columns, across, down = columns, rows, down, across
    columns = (across - columns if picture.mirrored_x else columns) / pixels.shrink_x - 0.5
    rows = (down - rows if picture.mirrored_y else rows) / pixels.shrink_y - 0.5
    shown = sample(pixels.array, rows, columns)
    return shown.swapaxes(0, 1) if picture.sideways else shown


def build_intake(
    section: InputSection, inputs: tuple[TensorSpec, ...], quantization: Mapping[str, Quantization]
) -> Intake:
    """The intake for a model's inputs; `Invalid` (`signature_unusable`, `manifest_wrong`) says what would fit."""
    spec = inputs[0] if len(inputs) == 1 else None
    if spec is None or len(spec.shape) != 4 or spec.shape[0] not in (-1, 1):
        shapes = ", ".join(f"{one.name!r} {list(one.shape)}" for one in inputs)
        raise _unusable("one input [1, 3, height, width] or [1, height, width, 3]", shapes)
    if spec.datatype not in DATATYPES:
        raise _unusable(f"an input of {', '.join(DATATYPES)}", f"{spec.name!r} {spec.datatype}")
    planar = _layout(spec, section.layout) == "NCHW"
    channels, *own = spec.shape[1:] if planar else (spec.shape[3], *spec.shape[1:3])
    height, width = _size(spec, (own[0], own[1]), section.size)
    channels = 3 if channels == -1 else channels
    scaling = pixel_map(
        spec.datatype, channels, mean=section.mean, std=section.std, quantization=quantization.get(spec.name)
    )
    return Intake(width, height, channels, planar, section, scaling)


def _layout(spec: TensorSpec, wanted: Layout | None) -> Layout:
    """Which axis holds the channels: the manifest's word where it fits, else the one axis of size 3 or 1."""
    axes: dict[Layout, int] = {"NCHW": spec.shape[1], "NHWC": spec.shape[3]}
    if wanted is not None and axes[wanted] in (-1, 1, 3):
        return wanted
    fitting = [layout for layout, size in axes.items() if size in (1, 3)]
    if wanted is not None or not fitting:
        raise _unusable(f"3 channels or 1 as {wanted or 'NCHW or NHWC'}", f"{spec.name!r} {list(spec.shape)}")
    if len(fitting) > 1:
        raise _unusable("`[input] layout` in the manifest, since both could be meant", f"{list(spec.shape)}")
    return fitting[0]


def _size(spec: TensorSpec, own: tuple[int, int], wanted: tuple[int, int] | None) -> tuple[int, int]:
    """(height, width): the signature's where it is fixed, else the manifest's."""
    if wanted is None:
        if -1 in own:
            raise _unusable(
                "`[input] size = [height, width]` in the manifest, since the model leaves its size free",
                f"{spec.name!r} {list(spec.shape)}",
            )
        return own
    if any(fixed not in (-1, asked) for fixed, asked in zip(own, wanted, strict=True)):
        raise Invalid(
            "manifest_wrong",
            f"`[input] size` is {list(wanted)}, but the model's input {spec.name!r} is {list(spec.shape)}. "
            "Leave `size` out, or give the model's.",
        )
    return wanted


def _unusable(needed: str, found: str) -> Invalid:
    return Invalid("signature_unusable", f"A model for pictures needs {needed}; this one has {found}.")
