// A hub that is not there: makes up a fleet for working on the page. `npm run mock`, then `npm run dev`.
// SITES=2000 makes many. Nothing of this ships.
import { createServer } from "node:http";
const N = Number(process.env.SITES ?? 3);
const LINES = ["press", "paint", "pack", "weld"];
const sites = Array.from({ length: N }, (_, i) => ({
  name: `edge-${i + 1}`,
  labels: { plant: ["kiel", "brest", "porto"][i % 3], line: LINES[i % 4] },
  state: i === 1 ? "silent" : i % 37 === 5 ? "late" : "present",
  kind: "edge",
  up: { rate_bytes_per_s: 1e6, bytes_per_s: 60000, round_trip_ms: 40, down: i === 1, spark: [] },
  load: { requests_per_s: 12, queue: 0 },
  devices: [{ name: "camera-1", requests_per_s: 8 }, { name: "camera-2", requests_per_s: 4 }],
  outbox: { events: i === 1 ? 812 : 3, bytes: i === 1 ? 420000 : 900 },
  models: [{ name: "surface-little", version: "1", compute_ms: 2.2 * (1 + (i % 3) * 3) }],
  doing: i === 1 ? "answers by itself, stores what it finds" : "answers here, escalates 12 %",
}));
const now = () => Date.now() / 1000;
const step = () => {
  for (const site of sites) {
    const gone = site.state === "silent";
    if (!gone) site.seen_s = now() - Math.random();
    site.seen_s ??= now() - 95;
    site.up.rate_bytes_per_s = gone ? 0 : 8e5 + 6e5 * Math.random();
    site.up.spark = [...site.up.spark, site.up.rate_bytes_per_s].slice(-40);
    site.load.requests_per_s = 10 + 5 * Math.random();
    site.load.queue = Math.floor(Math.random() * 4);
  }
};
for (let i = 0; i < 40; i++) step();
const alarms = [
  { site: "edge-2", code: "site_silent", level: "bad", since_s: now() - 95, message: "The site has not reported for 95 s.", next: "Look at its link and power; on the machine: littoral edge run DIR. It answers by itself meanwhile." },
  { site: "edge-1", code: "promise_at_risk", level: "warn", since_s: now() - 300, message: "Escalations are at 18 % of at most 20 %.", next: "littoral calibrate with newer pictures, or allow more." },
];
const curve = (n, f) => Array.from({ length: n }, (_, i) => f(i));
const detail = (site) => ({
  site, now_s: now(), alarms: alarms.filter((one) => one.site === site.name),
  promises: { on_time_share: 0.9994, on_time_held: true, escalated_share: 0.123, escalation_max: 0.2, escalation_held: true, degraded_share: 0.004 },
  host: { at_s: now(), cpu_share: 0.34, memory_used_bytes: 512e6, memory_total_bytes: 1e9, process_bytes: 118e6, disk_used_bytes: 8e9, disk_total_bytes: 32e9, temperature_c: 58, power_w: null },
  links: [], outbox_streams: [{ stream: "result", events: 3, bytes: 900, oldest_s: 1, dropped: 0 }, { stream: "telemetry", events: 0, bytes: 0, oldest_s: 0, dropped: 120 }],
  twin_desired_version: 7, twin_reported_version: 6, documents: [{ kind: "model", name: "surface-little", desired: "version 2", reported: "version 1", state: "waiting", reason: "downloading: 40 %" }, { kind: "limits", name: "default", desired: "version 3", reported: "version 3", state: "same" }],
  series: { at_s: curve(60, (i) => now() - (60 - i) * 5), latency_ms: { edge: curve(60, () => 8 + 2 * Math.random()), cloud: curve(60, (i) => (i > 30 && i < 42 ? null : 60 + 20 * Math.random())), hedged: curve(60, () => 90), degraded: curve(60, (i) => (i > 30 && i < 42 ? 12 : null)) }, link_bytes_per_s: site.up.spark.concat(site.up.spark).slice(0, 60), link_truth_bytes_per_s: curve(60, () => 1.1e6) },
  recent: curve(8, (i) => ({ id: `r${i}`, at_s: now() - i * 2, model: "surface-little", label: ["crack", "ok", "dent"][i % 3], score: 0.94 - i / 40, ran_at: i % 3 ? site.name : "hub", plan: i % 3 ? "cascade" : "offload", latency_ms: 20 + i * 4, deadline_ms: 200, degraded: i === 4, reason: i === 4 ? "upstream_down" : null, picture: null,
    why: { deadline_ms: 200, candidates: [{ plan: "local", cost_ms: 13, terms: { "compute here": 13 }, chosen: i % 3 > 0 }, { plan: "offload", upstream: "hub", cost_ms: 104, terms: { "compute there": 4, "up here-there": 60, "trips here-there": 40 }, chosen: i % 3 === 0 }, { plan: "cascade", upstream: "hub", cost_ms: 26, terms: { "compute here": 13, "up here-there": 8, "trips here-there": 5 } }, { plan: "offload", upstream: "hub-2", cost_ms: null }] } })),
});
createServer((request, reply) => {
  const url = new URL(request.url, "http://x");
  const json = (value, status = 200) => { reply.writeHead(status, { "Content-Type": "application/json" }); reply.end(JSON.stringify(value)); };
  const stream = () => reply.writeHead(200, { "Content-Type": "text/event-stream" });
  const say = (kind, value) => reply.write(`event: ${kind}\ndata: ${JSON.stringify(value)}\n\n`);
  if (url.pathname === "/v1/me") return json({ name: "admin", role: "admin" });
  if (url.pathname === "/v1/login" || url.pathname === "/v1/logout") return json({});
  if (url.pathname === "/v1/live") {
    stream();
    say("hello", { now_s: now(), hub: { name: "hub", domain: "plant.example", demo: true }, alarms });
    const send = () => { step(); say("sites", { now_s: now(), sites }); };
    send();
    const timer = setInterval(send, 1000);
    return request.on("close", () => clearInterval(timer));
  }
  if (url.pathname === "/v1/events") {
    stream();
    let n = 0;
    const timer = setInterval(() => say("entry", { site: sites[n % N].name, log: "a", sequence: ++n, stream: ["result", "telemetry"][n % 2], kind: "inference", wall_s: now(), body: { label: "crack", score: 0.93 } }), 300);
    return request.on("close", () => clearInterval(timer));
  }
  if (url.pathname === "/v1/models") return json({ models: [{ name: "surface-little", versions: [{ version: 2, pushed_s: now() - 90, size_bytes: 21000, quality: { metric: "top1", value: 0.89, samples: 3000, source: "held out" } }, { version: 1, pushed_s: now() - 9e5, size_bytes: 21000, quality: { metric: "top1", value: 0.879, samples: 3000, source: "held out" } }] }] });
  if (url.pathname === "/v1/assignments") return json({ assignments: [{ id: 3, model: "surface-little", version: 1, to: "*", created_s: now() - 8e5, created_by: "admin" }] });
  if (url.pathname.startsWith("/v1/demo")) return json({ link: false, slow: false, killed: false, load: false });
  const found = /^\/v1\/sites\/([^/]+)\/detail$/.exec(url.pathname);
  if (found) { const site = sites.find((one) => one.name === decodeURIComponent(found[1])); return site ? json(detail(site)) : json({ code: "site_unknown", error: "There is no such site." }, 404); }
  return json({ error: "not here" }, 404);
}).listen(5199, "127.0.0.1");
