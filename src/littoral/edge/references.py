"""What a model's calibration saw, from the file beside the model."""

from __future__ import annotations

from littoral.core.errors import LittoralError
from littoral.model.model import Model
from littoral.model.repository import Repository
from littoral.monitor.drift import Reference
from littoral.runtime.calibrating import beside, read_cascade


class References:
    """Reads calibrations. One that is damaged or of other weights counts as none; who uses its gate says so."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def of(self, model: Model) -> dict[str, Reference] | None:
        """The distributions by kind of value; None where there are none for these very weights."""
        try:
            path = beside(self._repository.find(model.name)[-1])
            rule = read_cascade(path) if path.is_file() else None
        except LittoralError:
            return None
        return rule.references if rule is not None and rule.little_digest == model.digest else None
