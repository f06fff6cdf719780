"""`littoral link`: a proxy on real sockets that behaves like a slow, late or broken link."""

from __future__ import annotations

from pathlib import Path

import click

from littoral.cli.options import Duration, Rate, json_option


@click.command("link")
@click.option(
    "--listen", required=True, type=click.IntRange(0, 65535), metavar="PORT", help="Port on 127.0.0.1; 0 = any."
)
@click.option("--to", "target", required=True, metavar="HOST:PORT", help="Where connections go on to.")
@click.option("--rate", default="100Mbit/s", show_default=True, type=Rate(), help="Each way.")
@click.option("--delay", "delay_ms", default="0ms", show_default=True, type=Duration(zero=True), help="One way.")
@click.option(
    "--trace", metavar="FILE", type=click.Path(path_type=Path), help="Rates over time: seconds, Mbit/s a line."
)
@click.option("--drop", "fault", flag_value="drop", help="Break and refuse connections.")
@click.option("--blackhole", "fault", flag_value="blackhole", help="Take bytes and let none out.")
@click.option(
    "--flap", "flap_ms", type=Duration(), metavar="TIME", help="Work for so long, fail for so long, and again."
)
@json_option
def command(
    *,
    listen: int,
    target: str,
    rate: float,
    delay_ms: float,
    trace: Path | None,
    fault: str | None,
    flap_ms: float | None,
    as_json: bool,
) -> None:
    """Pass connections on as a link with this rate, delay and faults would. Runs until Ctrl-C."""
    import asyncio

    from littoral.core.errors import Invalid
    from littoral.net.weather import Fault, Forecast, Weather, read_trace

    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise Invalid("address_wrong", f"--to {target!r}: write HOST:PORT, such as 127.0.0.1:8000.")
    broken = Fault(fault) if fault else (Fault.BLACKHOLE if flap_ms else Fault.NONE)
    points, length_s = read_trace(trace) if trace is not None else ((), 0.0)
    forecast = Forecast(Weather(rate * 1000, delay_ms / 1000), points, length_s, broken, (flap_ms or 0.0) / 1000)
    asyncio.run(_serve(host, int(port), listen, forecast, as_json=as_json))


async def _serve(host: str, port: int, listen: int, forecast: object, *, as_json: bool) -> None:
    """Runs the proxy until it is told to stop."""
    import asyncio
    import signal

    from littoral.cli.table import json_line
    from littoral.net.shaper import ShapedLink
    from littoral.net.weather import Forecast

    assert isinstance(forecast, Forecast)
    link = ShapedLink(host, port, forecast, listen_port=listen)
    await link.start()
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    address = f"127.0.0.1:{link.port}"
    click.echo(json_line({"link": address, "to": f"{host}:{port}"}) if as_json else f"{address} > {host}:{port}")
    try:
        await stopped.wait()
    finally:
        await link.stop()
        click.echo(f"{link.up.bytes_carried} bytes went up, {link.down.bytes_carried} came down.", err=True)
