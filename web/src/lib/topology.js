// Where things stand in the picture of the fleet: devices left, edges in the middle, the hub right. No drawing here.

export const NODES_MAX = 12;
const ROW = 56;
const TOP = 30;

/** Rows of at most NODES_MAX: sites by themselves, or, of many, groups by the first label that divides them well. */
export function grouped(rows, label = null) {
  if (rows.length <= NODES_MAX)
    return rows
      .map((row) => ({ key: row.name, title: row.name, rows: [row] }))
      .sort((a, b) => a.title.localeCompare(b.title, "en", { numeric: true }));
  const by = label || bestLabel(rows);
  const groups = new Map();
  for (const row of rows) {
    const key = by ? `${by}=${row.labels?.[by] ?? "none"}` : `${row.name[0]}…`;
    if (!groups.has(key)) groups.set(key, { key, title: key, rows: [] });
    groups.get(key).rows.push(row);
  }
  const sorted = [...groups.values()].sort((a, b) => b.rows.length - a.rows.length);
  if (sorted.length <= NODES_MAX) return sorted;
  const rest = { key: "…", title: "others", rows: sorted.slice(NODES_MAX - 1).flatMap((group) => group.rows) };
  return [...sorted.slice(0, NODES_MAX - 1), rest];
}

/** The label with the fewest values above one. */
export function bestLabel(rows) {
  const values = new Map();
  for (const row of rows)
    for (const [name, value] of Object.entries(row.labels ?? {})) {
      if (!values.has(name)) values.set(name, new Set());
      values.get(name).add(value);
    }
  const usable = [...values].filter(([, found]) => found.size > 1).sort((a, b) => a[1].size - b[1].size);
  return usable[0]?.[0] ?? null;
}

/** The worst state among rows, for a group. */
export function stateOf(rows) {
  for (const state of ["silent", "gone", "late"]) if (rows.some((row) => row.state === state)) return state;
  return rows.some((row) => row.state === "present") ? "present" : (rows[0]?.state ?? "off");
}

const cutOff = (row) => row.state === "silent" || row.state === "gone" || row.up?.down === true;

export function laidOut(groups, width) {
  const height = TOP + Math.max(groups.length, 2) * ROW + 12;
  const narrow = width < 560;
  const edgeX = narrow ? width * 0.22 : width * 0.42;
  const hub = { x: width - (narrow ? 60 : 110), y: TOP + (Math.max(groups.length, 2) * ROW) / 2 };
  const nodes = groups.map((group, place) => {
    const cut = group.rows.filter(cutOff).length;
    const rate = group.rows.reduce((sum, row) => sum + (row.up?.bytes_per_s ?? 0), 0);
    return {
      ...group,
      x: edgeX,
      y: TOP + ROW * (place + 0.5),
      state: stateOf(group.rows),
      cut,
      whole: cut === group.rows.length,
      bytesPerS: rate,
      width: 1.2 + Math.min(6, Math.log10(1 + rate / 200)),
      devices: narrow ? [] : group.rows.flatMap((row) => row.devices ?? []).slice(0, 3),
      late: group.rows.some((row) => row.state === "late"),
    };
  });
  return { height, hub, nodes, narrow };
}
