// Quantities as people read them, always with their unit. What is not known is said as "unknown", never as 0.

export const UNKNOWN = "unknown";
const known = (value) => typeof value === "number" && Number.isFinite(value);

/** Three figures: 0.42, 7.5, 128. */
function figures(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

function scaled(value, step, units) {
  let place = 0;
  while (Math.abs(value) >= step * 0.9995 && place < units.length - 1) {
    value /= step;
    place += 1;
  }
  return `${figures(value)} ${units[place]}`;
}

export const bytes = (value) => (known(value) ? scaled(value, 1000, ["B", "kB", "MB", "GB", "TB"]) : UNKNOWN);
export const bitRate = (bytesPerS) =>
  known(bytesPerS) ? scaled(bytesPerS * 8, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]) : UNKNOWN;
export const ms = (value) =>
  !known(value) ? UNKNOWN : value < 999.5 ? `${figures(value)} ms` : `${figures(value / 1000)} s`;
export const percent = (share) => (known(share) ? `${figures(share * 100)} %` : UNKNOWN);
export const count = (value) => (known(value) ? Math.round(value).toLocaleString("en-GB") : UNKNOWN);
export const perSecond = (value) => (known(value) ? `${figures(value)}/s` : UNKNOWN);
export const degrees = (value) => (known(value) ? `${value.toFixed(0)} °C` : "not available here");
export const watts = (value) => (known(value) ? `${figures(value)} W` : "not available here");

/** How long: "4 s", "3 min", "2 h", "12 days". */
export function span(seconds) {
  if (!known(seconds)) return UNKNOWN;
  const whole = Math.max(0, seconds);
  if (whole < 90) return `${Math.round(whole)} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  if (whole < 172800) return `${Math.round(whole / 3600)} h`;
  return `${Math.round(whole / 86400)} days`;
}

export const ago = (atS, nowS) => (known(atS) ? `${span(nowS - atS)} ago` : "never");

/** The time of day on this computer: "14:03:22". */
export const clock = (atS) => (known(atS) ? new Date(atS * 1000).toLocaleTimeString("en-GB") : UNKNOWN);
export const dateTime = (atS) => (known(atS) ? new Date(atS * 1000).toLocaleString("en-GB") : UNKNOWN);
