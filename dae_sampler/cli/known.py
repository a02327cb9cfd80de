"""What a user says of the noise in pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..spec import parse_number
from .flow import Now

if TYPE_CHECKING:
    from ..corruption import Corruption
    from ..data.tables import Table
    from ..sampling.anscombe import PoissonGaussian


def level_wanted(q: Corruption, objective: str) -> list[str]:
    """The option that ``denoise`` wants of a model of pictures, as an example; none where it estimates the level."""
    from ..sampling.plan import tells_level

    told = q.has_level and q.ranged and not tells_level(q, objective)
    return ["--level", f"{q.usual_level:.3g}"] if told else []


@dataclass(frozen=True)
class Known:
    """What is known of the noise.

    Attributes:
        level: one for all; None to look it up or estimate it.
        noise: sigma, for a model that has no level.
        table: one for each file.
        sensor: noise that is stronger where a picture is bright.
        strength: that an estimated level is multiplied by.
    """

    level: float | None
    noise: float | None
    table: Table | None
    sensor: PoissonGaussian | None
    strength: float

    @classmethod
    def read(cls, level: str | None, noise: str | None, strength: float) -> Known:
        """What the options say."""
        from ..data.tables import Table
        from ..sampling import anscombe

        if noise is not None and level is not None:
            raise InputError("`noise` and `level` both say how strong the noise is: give one")
        if strength != 1 and (noise is not None or level not in (None, "auto")):
            raise InputError("`strength` multiplies an estimated level: leave it out, or the level that you give")
        sensor = None if noise is None else anscombe.parse(noise)
        sigma = None if noise is None or sensor else parse_number(noise, "noise")
        if level is not None and level.lower().endswith(".csv"):
            return cls(None, None, Table(Path(level), "level"), None, strength)
        number = None if level in (None, "auto") else parse_number(level, "level")
        return cls(number, sigma, None, sensor, strength)

    @property
    def each(self) -> bool:
        """Whether a picture has to be asked for its level."""
        return self.table is not None or self.sensor is not None

    def of(self, now: Now, least: float) -> float:
        """The level of the picture that is computed ``now``; of a sensor's noise ``least`` or more."""
        if self.sensor:
            return max(self.sensor.level(now.white), least)
        assert self.table
        return parse_number(self.table[now.name], "level")
