"""What a machine feels, read from a system folder that a test lays out."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.core.clock import ManualClock
from littoral.monitor.host import Host, energy_mj, temperatures


def _lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return root


def test_what_a_machine_has_no_sensor_for_is_none_and_never_zero(tmp_path: Path) -> None:
    # given a machine whose system shows no sensor at all
    host = Host(clock=ManualClock(), sys=tmp_path)

    # when it is read
    reading = host.read()

    # then heat, throttling and power are unknown, and what every machine has is there
    assert (reading.temperature_c, reading.throttled, reading.power_w, reading.power_of) == (None, None, None, "")
    assert 0 < reading.memory_used_bytes <= reading.memory_total_bytes
    assert reading.process_bytes > 0
    assert energy_mj(reading, 1.0) is None


def test_the_hottest_sensor_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    # given two zones, one chip and a sensor that answers nonsense
    _lay(
        tmp_path,
        {
            "class/thermal/thermal_zone0/temp": "48250",
            "class/thermal/thermal_zone1/temp": "61500",
            "class/hwmon/hwmon0/temp1_input": "55000",
            "class/thermal/thermal_zone2/temp": "n/a",
            "class/thermal/thermal_zone3/temp": "99999999",
        },
    )

    # when it is read
    reading = Host(clock=ManualClock(), sys=tmp_path).read()

    # then the hottest that makes sense is told
    assert reading.temperature_c == 61.5
    assert len(temperatures(tmp_path)) == 3


@pytest.mark.parametrize(
    ("bits", "throttled"), [("0", False), ("1", False), ("2", True), ("4", True), ("8", True), ("50000", False)]
)
def test_a_raspberry_pi_says_by_its_firmware_whether_it_is_slowed_now(
    tmp_path: Path, bits: str, throttled: bool
) -> None:
    _lay(tmp_path, {"devices/platform/soc/soc:firmware/get_throttled": bits})
    assert Host(clock=ManualClock(), sys=tmp_path).read().throttled is throttled


def test_a_processor_that_was_slowed_since_the_reading_before_is_throttled(tmp_path: Path) -> None:
    # given a core that counts its slowings
    counter = "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    host = Host(clock=ManualClock(), sys=_lay(tmp_path, {counter: "7"}))

    # when it is read, read again after two more, and again after none
    first = host.read().throttled
    _lay(tmp_path, {counter: "9"})
    second, third = host.read().throttled, host.read().throttled

    # then only the reading after the slowings says so
    assert (first, second, third) == (False, True, False)


def test_the_processors_power_is_its_energy_over_the_time_between_readings(tmp_path: Path) -> None:
    # given a package whose counter goes round at 10 J, and its parts
    clock = ManualClock()
    rapl = "class/powercap/intel-rapl:0"
    _lay(
        tmp_path,
        {
            f"{rapl}/energy_uj": "9000000",
            f"{rapl}/max_energy_range_uj": "10000000",
            "class/powercap/intel-rapl:0:0/energy_uj": "5",
        },
    )
    host = Host(clock=clock, sys=tmp_path)
    first = host.read()

    # when two seconds pass in which it went round and spent 6 J
    clock.advance(2.0)
    _lay(tmp_path, {f"{rapl}/energy_uj": "5000000"})
    second = host.read()

    # then one reading alone knows no power, two know 3 W
    assert first.power_w is None
    assert (second.power_w, second.power_of) == (pytest.approx(3.0), "package")
    assert energy_mj(second, 0.010) == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("files", "watts"),
    [
        ({"name": "ina219", "power1_input": "4200000"}, 4.2),
        ({"name": "ina226", "in1_input": "5000", "curr1_input": "800"}, 4.0),
        (
            {
                "name": "ina3221",
                "in1_label": "VDD_IN",
                "in1_input": "19000",
                "curr1_input": "500",
                "in2_label": "VDD_CPU",
                "in2_input": "19000",
                "curr2_input": "200",
            },
            9.5,
        ),
    ],
)
def test_a_boards_own_meter_is_read_by_its_input_alone(tmp_path: Path, files: dict[str, str], watts: float) -> None:
    # given a board with a meter
    _lay(tmp_path, {f"class/hwmon/hwmon1/{name}": text for name, text in files.items()})

    # when it is read
    reading = Host(clock=ManualClock(), sys=tmp_path).read()

    # then its watts are those of what goes in, not of every rail
    assert (reading.power_w, reading.power_of) == (pytest.approx(watts), "board")
