"""What the machine itself feels: processor, memory, disk, network, heat, throttling and power.

    host = Host(clock=RealClock())
    reading = host.read()  # what a machine has no sensor for is None, and said as "not available here"

Processor, network and power are means since the reading before, so a reading costs a few file reads and waits for
nothing. Sources: psutil; the kernel's sysfs (powercap: energy_uj; hwmon: power*_input in microwatts, in*_input in
millivolts, curr*_input in milliamperes; x86 thermal_throttle counters; the Raspberry Pi firmware's get_throttled bits).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from littoral.core.clock import Clock

_PI_THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"
_PI_SLOWED_NOW = 0b1110  # frequency capped, throttled, soft temperature limit; bit 0 (under-voltage) is no slowing yet
_WATT_CEILING = 10_000.0  # beyond this a sensor is lying


@dataclass(frozen=True, slots=True)
class HostReading:
    """A machine at an instant; shares are from 0 to 1, None is what cannot be measured here.

    `cpu_share` is of all cores. `power_w` is of the whole board where it says so, else of the processor package;
    `power_of` names the source ("board", "package", "" for none).
    """

    cpu_share: float
    memory_used_bytes: int
    memory_total_bytes: int
    process_bytes: int
    disk_used_bytes: int
    disk_total_bytes: int
    sent_bytes_per_s: float
    received_bytes_per_s: float
    temperature_c: float | None
    throttled: bool | None
    power_w: float | None
    power_of: str


@dataclass(slots=True)
class _Before:
    """What counters said at the reading before; `slowings` is None where nobody counts them."""

    at_s: float
    sent: int
    received: int
    energy_uj: dict[str, int]
    slowings: int | None


class Host:
    """Reads one machine; keeps only the counters of the reading before. Used from one thread."""

    def __init__(self, *, clock: Clock, sys: Path = Path("/sys"), disk: Path = Path("/")) -> None:
        """`sys` is where the kernel shows its sensors, `disk` a folder on the disk that matters."""
        self._clock = clock
        self._sys = sys
        self._disk = disk
        self._process = psutil.Process()
        self._before: _Before | None = None

    def read(self) -> HostReading:
        """The machine now. A sensor that fails to answer is one that is not there."""
        now_s = self._clock.monotonic_s()
        network = psutil.net_io_counters()
        sent, received = (network.bytes_sent, network.bytes_recv) if network is not None else (0, 0)
        now = _Before(now_s, sent, received, dict(self._energies()), self._slowings())
        before, self._before = self._before, now
        passed_s = 0.0 if before is None else now_s - before.at_s
        power_w, power_of = self._power(before, now, passed_s)
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._disk))
        return HostReading(
            cpu_share=psutil.cpu_percent(interval=None) / 100,
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            process_bytes=self._process.memory_info().rss,
            disk_used_bytes=disk.used,
            disk_total_bytes=disk.total,
            sent_bytes_per_s=(sent - before.sent) / passed_s if before and passed_s > 0 else 0.0,
            received_bytes_per_s=(received - before.received) / passed_s if before and passed_s > 0 else 0.0,
            temperature_c=max(temperatures(self._sys), default=None),
            throttled=self._throttled(before, now),
            power_w=power_w,
            power_of=power_of,
        )

    def _throttled(self, before: _Before | None, now: _Before) -> bool | None:
        """Whether heat or supply slows the machine: as the Pi's firmware says, else whether slowings were counted."""
        firmware = _text(self._sys / _PI_THROTTLED)
        if firmware is not None:
            try:
                return bool(int(firmware, 16) & _PI_SLOWED_NOW)
            except ValueError:
                return None
        if now.slowings is None:
            return None
        return before is not None and before.slowings is not None and now.slowings > before.slowings

    def _slowings(self) -> int | None:
        counts = [
            count
            for path in self._sys.glob("devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
            if (count := _number(path)) is not None
        ]
        return sum(counts) if counts else None

    def _power(self, before: _Before | None, now: _Before, passed_s: float) -> tuple[float | None, str]:
        """Watts and whose: a board's own meter is preferred to the processor's."""
        board = sum(_board_watts(self._sys))
        if 0 < board < _WATT_CEILING:
            return board, "board"
        if before is None or passed_s <= 0 or not now.energy_uj:
            return None, ""
        spent_uj = 0
        for name, energy in now.energy_uj.items():
            if name not in before.energy_uj:
                continue
            grown = energy - before.energy_uj[name]
            if grown < 0:  # the counter went round
                grown += _number(self._sys / "class/powercap" / name / "max_energy_range_uj") or 0
            spent_uj += max(grown, 0)
        watts = spent_uj / 1e6 / passed_s
        return (watts, "package") if 0 < watts < _WATT_CEILING else (None, "")

    def _energies(self) -> Iterator[tuple[str, int]]:
        """The energy counters of whole processor packages; their parts (`intel-rapl:0:1`) are in them already."""
        for folder in sorted(self._sys.glob("class/powercap/*rapl:[0-9]*")):
            if folder.name.count(":") == 1 and (energy := _number(folder / "energy_uj")) is not None:
                yield folder.name, energy


def temperatures(sys: Path = Path("/sys")) -> list[float]:
    """Degrees Celsius of every sensor that answers, by the kernel's thermal zones and hwmon."""
    found = [_number(path) for path in sys.glob("class/thermal/thermal_zone*/temp")]
    found += [_number(path) for path in sys.glob("class/hwmon/hwmon*/temp*_input")]
    return [milli / 1000 for milli in found if milli is not None and -50_000 < milli < 200_000]


def _board_watts(sys: Path) -> Iterator[float]:
    """Watts of each meter of the whole board: INA2xx chips, and the input rail of Jetsons (`VDD_IN`, `POM_5V_IN`)."""
    for chip in sorted(sys.glob("class/hwmon/hwmon*")):
        if not (_text(chip / "name") or "").startswith("ina"):
            continue
        rails = {
            path.name.removesuffix("_label").removeprefix("in"): _text(path) or "" for path in chip.glob("in*_label")
        }
        inputs = [rail for rail, label in rails.items() if label.endswith("_IN")]
        direct = _number(chip / "power1_input")
        if direct is not None and not inputs:
            yield direct / 1e6
            continue
        for rail in inputs or ["1"]:
            millivolts, milliamperes = _number(chip / f"in{rail}_input"), _number(chip / f"curr{rail}_input")
            if millivolts is not None and milliamperes is not None:
                yield millivolts * milliamperes / 1e6


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def energy_mj(reading: HostReading, busy_s: float) -> float | None:
    """Millijoules that `busy_s` seconds of work took at this power; None where power is not known."""
    return None if reading.power_w is None else reading.power_w * busy_s * 1000
