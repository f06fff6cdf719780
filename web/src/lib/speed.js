// How quick one version of a model is, site by site.

const version = (row, name, number) =>
  (row.models ?? []).find((one) => one.name === name && String(one.version) === String(number));

/** The rows that run a version. */
export const running = (rows, name, number) => rows.filter((row) => version(row, name, number));

/** Milliseconds of those that were measured, quickest first: [{ name, ms }]. */
export const speeds = (rows, name, number) =>
  rows
    .map((row) => ({ name: row.name, ms: version(row, name, number)?.compute_ms }))
    .filter((one) => typeof one.ms === "number")
    .sort((a, b) => a.ms - b.ms);
