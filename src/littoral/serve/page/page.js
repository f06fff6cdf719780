// The page of one node: asks it every two seconds for the figures that it has anyway, and draws them. Text only ever
// becomes text: no markup is made of what a server says.
const EVERY_MS = 2000, KEPT_S = 60, ASK_MS = 5000, ANSWERS_MAX = 8, PICTURE_BYTES_MAX = 8e6;
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let key = sessionStorage.getItem("littoral-key") || "";
let samples = [], heardMs = 0, timer = 0;
const pictured = new Map(); // model > whether it takes pictures

const ROUTES = {
  local: "here", cascade: "here, by the little model", escalated: "little here, then upstream", offload: "upstream",
  hedged: "here and upstream at once", split: "divided", failed: "failed", cancelled: "cancelled",
};
const BREAKERS = { closed: ["good", "● up"], "half-open": ["warn", "▲ trying again"], open: ["bad", "✕ cut off"] };
const STATES = { READY: ["good", "● ready"], LOADING: ["warn", "▲ loading"], UNAVAILABLE: ["bad", "✕ not ready"] };

function make(name, text = "", kind = "") {
  const it = document.createElement(name);
  if (text !== "") it.textContent = text;
  if (kind) it.className = kind;
  return it;
}
function drawn(name, facts) {
  const it = document.createElementNS(SVG, name);
  for (const [fact, value] of Object.entries(facts)) it.setAttribute(fact, value);
  return it;
}
const say = (id, text) => { const it = at(id); if (it.textContent !== text) it.textContent = text; };
const count = (value) => Math.round(value).toLocaleString("en");
const short = (value) => !Number.isFinite(value) ? "–" : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
const bits = (bytes) => bytes >= 1.25e9 ? "over 10 Gbit/s" : bytes * 8 >= 1e6 ? `${short(bytes * 8 / 1e6)} Mbit/s` : `${short(bytes * 8 / 1e3)} kbit/s`;

async function ask(path, more = {}) {
  const headers = { ...(more.headers || {}), ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(path, { ...more, headers, cache: "no-store", signal: AbortSignal.timeout(more.ms || ASK_MS) });
  if (answer.status === 401) throw Object.assign(new Error("key"), { isKey: true });
  return answer;
}

// ---- Prometheus' text: name > [[labels, value]] ---------------------------------------------------------------------

function read(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    if (!line.startsWith("littoral_")) continue;
    const brace = line.indexOf("{"), end = line.lastIndexOf(" ");
    const name = line.slice(0, brace < 0 || brace > end ? line.indexOf(" ") : brace), labels = {};
    if (brace >= 0 && brace < end) {
      for (const [, label, value] of line.slice(brace + 1, end).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
        labels[label] = value.replace(/\\(.)/g, (_, mark) => (mark === "n" ? "\n" : mark));
      }
    }
    if (!found.has(name)) found.set(name, []);
    found.get(name).push([labels, Number(line.slice(end + 1))]);
  }
  return found;
}
const rows = (sample, name) => sample.figures.get(`littoral_${name}`) || [];
const is = (labels, wanted) => Object.entries(wanted).every(([label, value]) => labels[label] === value);
const sum = (sample, name, wanted = {}) => rows(sample, name).reduce((all, [labels, value]) => all + (is(labels, wanted) ? value : 0), 0);

// Answers: what ran here, and what an upstream or a divided model answered alone. The halves of a divided model are no
// models of their own. Of several versions the newest (no version given) has what went upstream, which has none.
function answers(sample, { model, version, whole = true } = {}) {
  let all = 0;
  for (const [labels, value] of rows(sample, "requests_total")) {
    if (labels.outcome !== "ok" || labels.model.includes("@")) continue;
    if ((!model || labels.model === model) && (!version || labels.version === version)) all += value;
  }
  if (!whole) return all;
  for (const [labels, value] of rows(sample, "placed_requests_total")) {
    if ((labels.route === "offload" || labels.route === "split") && (!model || labels.model === model)) all += value;
  }
  return all;
}
const meanwhile = (figure) => samples.length < 2 ? 0 : Math.max(figure(samples[samples.length - 1]) - figure(samples[0]), 0);
const during = (name, wanted = {}) => meanwhile((sample) => sum(sample, name, wanted));
const missed = (sample) => rows(sample, "requests_total").reduce((all, [labels, value]) => all + (labels.outcome === "ok" || labels.model.includes("@") ? 0 : value), 0);
const seconds = () => samples.length < 2 ? 0 : samples[samples.length - 1].s - samples[0].s;

// A quantile of what came during the last minute, by the histogram's buckets; NaN where nothing came.
function quantile(name, share, wanted = {}) {
  const bounds = new Map();
  const gather = (sample, sign) => {
    for (const [labels, value] of rows(sample, `${name}_bucket`)) {
      if (is(labels, wanted)) bounds.set(labels.le, (bounds.get(labels.le) || 0) + sign * value);
    }
  };
  if (samples.length < 2) return NaN;
  gather(samples[samples.length - 1], 1);
  gather(samples[0], -1);
  const steps = [...bounds].map(([le, value]) => [le === "+Inf" ? Infinity : Number(le), value]).sort((a, b) => a[0] - b[0]);
  const all = steps.length ? steps[steps.length - 1][1] : 0;
  if (!(all > 0)) return NaN;
  let under = 0, below = 0;
  for (const [bound, value] of steps) {
    if (value >= share * all) return bound === Infinity ? under : under + (bound - under) * ((share * all - below) / Math.max(value - below, 1e-9));
    [under, below] = [bound, value];
  }
  return under;
}

// ---- drawing --------------------------------------------------------------------------------------------------------

function spark(values) {
  const top = Math.max(...values, 1e-9), step = 100 / Math.max(values.length - 1, 1);
  const path = values.map((value, n) => `${n ? "L" : "M"}${(n * step).toFixed(1)} ${(26 - (value / top) * 24).toFixed(1)}`).join("");
  const it = drawn("svg", { viewBox: "0 0 100 28", preserveAspectRatio: "none", class: "spark", role: "img" });
  it.setAttribute("aria-label", `Answers a second over the last minute, at most ${short(top)}`);
  it.append(drawn("path", { d: path }));
  return it;
}
function bars(entries, unit) {
  const top = Math.max(...entries.map((one) => one.value), 1e-9), it = make("div", "", "bars");
  for (const { name, value, chosen } of entries) {
    const svg = drawn("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(drawn("rect", { x: 0, y: 0, height: 12, width: Math.max((value / top) * 100, 0.5), class: chosen === false ? "other" : "bar" }));
    const kind = chosen ? "chosen" : "";
    it.append(make("span", (chosen ? "✓ " : "") + name, kind), svg, make("span", `${unit === "ms" ? short(value) : count(value)} ${unit}`, kind));
  }
  return it;
}
const state = ([kind, word]) => make("span", word, `state ${kind}`);
function fill(place, made) { at(place).replaceChildren(...made); }

function tiles(last) {
  const s = seconds(), answered = meanwhile(answers), failed = meanwhile(missed);
  say("rate", s ? `${short(answered / s)} / s` : "–");
  const each = samples.slice(1).map((one, n) => Math.max(answers(one) - answers(samples[n]), 0) / Math.max(one.s - samples[n].s, 0.1));
  fill("rate-line", each.length > 1 ? [spark(each)] : []);
  const ms = (share) => quantile("request_seconds", share) * 1e3;
  const some = Number.isFinite(ms(0.5));
  say("p50", some ? `${short(ms(0.5))} ms` : "–");
  say("p99", some ? `99 of 100 within ${short(ms(0.99))} ms` : "nothing ran here in the last minute");
  say("queue", count(sum(last, "queue_length")));
  const wait = quantile("queue_seconds", 0.99) * 1e3;
  say("wait", Number.isFinite(wait) ? `99 of 100 waited at most ${short(wait)} ms` : "nothing waited in the last minute");
  say("failed", count(failed));
  say("late", s ? `of ${count(answered + failed)} in the last ${Math.round(s)} s; ${count(during("requests_late_total"))} late` : "nothing was seen yet");
}

function models(index, last) {
  const newest = new Map(index.map((one) => [one.name, one.version]));
  fill("models", index.map((one) => {
    const who = { model: one.name, version: one.version }, whole = newest.get(one.name) === one.version;
    const all = (sample) => answers(sample, { ...who, whole }), s = seconds(), row = make("tr");
    const name = make("th", `${one.name}@${one.version}`);
    name.scope = "row";
    const how = make("td");
    how.append(state(STATES[one.state] || ["off", one.state.toLowerCase()]));
    if (one.reason) how.append(make("div", one.reason, "small dim"));
    const numbers = [
      s ? short(meanwhile(all) / s) : "–",
      short(quantile("request_seconds", 0.5, who) * 1e3), short(quantile("request_seconds", 0.99, who) * 1e3),
      count(sum(last, "queue_length", who)), count(all(last)),
      count(sum(last, "requests_late_total", who)),
    ];
    const failed = rows(last, "requests_total").filter(([labels, value]) => is(labels, who) && labels.outcome !== "ok" && value > 0);
    const words = failed.sort((a, b) => b[1] - a[1]).slice(0, 4).map(([labels, value]) => `${count(value)} ${labels.outcome}`);
    row.append(name, how, ...numbers.map((text) => make("td", text, "number")), make("td", words.join(", ") || "none"));
    return row;
  }));
  at("models-none").hidden = index.length > 0;
}

function where(last) {
  const routes = new Map(), reasons = new Map();
  for (const [labels, value] of rows(last, "placed_requests_total")) routes.set(labels.route, (routes.get(labels.route) || 0) + value);
  for (const [labels, value] of rows(last, "degraded_answers_total")) reasons.set(labels.reason, (reasons.get(labels.reason) || 0) + value);
  const gone = [...routes].filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]);
  const all = answers(last);
  const told = gone.map(([route, value]) => ({ name: ROUTES[route] || route, value }));
  if (told.length) fill("where", [bars(told, "")]);
  else if (all) fill("where", [bars([{ name: "here", value: all }], "")]);
  else fill("where", [make("p", "Nothing was asked yet. Send it a picture below, or:", "dim"), make("code", `curl --data-binary @picture.jpg ${location.origin}/v2/models/MODEL/predict`)]);
  const why = [...reasons].filter(([, value]) => value > 0).map(([reason, value]) => `${count(value)} ${reason}`);
  fill("why", why.length ? [make("p", `Answers that are less than was wanted, by reason: ${why.join(", ")}.`, "small dim")] : []);
}

function links(last) {
  const names = [...new Set(rows(last, "upstream_requests_total").map(([labels]) => labels.upstream))];
  if (!names.length) {
    fill("links", [make("p", "None: all is answered here. To ask another server where that is better:", "dim"), make("code", "littoral serve --upstream URL")]);
    return;
  }
  fill("links", names.map((upstream) => {
    const one = (name) => { const it = rows(last, name).find(([labels]) => is(labels, { upstream })); return it ? it[1] : NaN; };
    const now = rows(last, "upstream_breaker").find(([labels, value]) => labels.upstream === upstream && value === 1);
    const used = rows(last, "upstream_address").find(([labels, value]) => labels.upstream === upstream && value === 1);
    const over = used && used[0].address !== upstream ? `, asked over ${used[0].address}` : "";
    const it = make("div"), head = make("p"), rate = one("upstream_rate_bytes_per_second"), trip = one("upstream_round_trip_seconds"), age = one("upstream_estimate_age_seconds");
    head.append(make("strong", upstream), " ", state(BREAKERS[now ? now[0].state : ""] || ["off", "unknown"]), over);
    const measured = Number.isFinite(rate) ? `${bits(rate)}, round trip ${short(trip * 1e3)} ms, measured ${short(age)} s ago` : "not measured yet";
    it.append(head, make("p", `${measured}; ${count(one("upstream_answers_total"))} of ${count(one("upstream_requests_total"))} calls answered`, "small dim"));
    return it;
  }));
}

// ---- asking it ------------------------------------------------------------------------------------------------------

async function choices(index) {
  const ready = [...new Set(index.filter((one) => one.state === "READY").map((one) => one.name))];
  for (const name of ready.filter((one) => !pictured.has(one)).slice(0, 20)) {
    const told = await (await ask(`v2/models/${encodeURIComponent(name)}`)).json();
    if (told.parameters) pictured.set(name, told.parameters.task !== "tensor");
  }
  const usable = ready.filter((name) => pictured.get(name)), shown = [...at("try-model").options].map((one) => one.value);
  if (usable.join("\n") !== shown.join("\n")) {
    const chosen = at("try-model").value;
    fill("try-model", usable.map((name) => { const it = make("option", name); it.value = name; return it; }));
    if (usable.includes(chosen)) at("try-model").value = chosen;
  }
  at("try").hidden = !usable.length;
  at("try-none").hidden = usable.length > 0;
}

function base64(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(String(reader.result).split(",")[1] || "");
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });
}

function wayOf({ plan, upstream }) {
  const words = { local: "here", offload: `upstream, ${upstream}`, cascade: `little here, in doubt ${upstream}`, split: `divided with ${upstream}` };
  return words[plan] || plan;
}

function answered(model, told, tookMs) {
  const facts = told.parameters || {}, outputs = Object.fromEntries((told.outputs || []).map((one) => [one.name, one.data]));
  const labels = outputs.label || [], scores = outputs.score || [], it = make("li"), head = make("p");
  const found = labels.slice(0, 3).map((label, n) => `${label} ${short(Number(scores[n]))}`).join(", ");
  head.append(make("strong", found || (scores.length ? `score ${short(Number(scores[0]))}` : "nothing found")));
  const ways = { local: "ran here", offload: "ran upstream", cascade: "little model first", split: "divided", tail: "from a block" };
  const words = [model, `${ways[facts.plan] || facts.plan} at ${facts.site}`, `${short(tookMs)} ms, of it ${short(facts.queue_ms)} waiting and ${short(facts.compute_ms)} running`];
  if (facts.hedged) words.push("an upstream was late, so it ran here too");
  if (facts.degraded) words.push(`degraded: ${facts.reason || "no reason given"}`);
  it.append(head, make("p", words.join(" · "), "small dim"));
  let plans = [];
  try { plans = JSON.parse(facts.explanation || "{}").candidates || []; } catch { plans = []; }
  const priced = plans.filter((one) => Number.isFinite(one.cost_ms));
  if (priced.length) {
    it.append(make("p", "What each way would have cost:", "small"), bars(priced.map((one) => ({ name: wayOf(one), value: one.cost_ms, chosen: Boolean(one.chosen) })), "ms"));
  } else it.append(make("p", "There was one way only: here.", "small dim"));
  return it;
}

at("try").addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = at("try-file").files[0], model = at("try-model").value, button = at("try").querySelector("button");
  button.disabled = true;
  let it;
  try {
    if (file.size > PICTURE_BYTES_MAX) throw new Error("The picture is larger than 8 MB. Send it with curl or littoral predict.");
    const body = { inputs: [{ name: "image", datatype: "BYTES", shape: [1], parameters: { encoding: "base64" }, data: [await base64(file)] }], parameters: { explain: true, deadline_ms: Number(at("try-deadline").value) } };
    const began = performance.now();
    const answer = await ask(`v2/models/${encodeURIComponent(model)}/infer`, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, ms: 60000 });
    const told = await answer.json();
    it = answer.ok ? answered(model, told, performance.now() - began) : make("li", `${told.error} (${told.code})`, "bad");
  } catch (error) {
    it = make("li", error.isKey ? "The key is not known here any more." : String(error.message || error), "bad");
  }
  at("answers").prepend(it);
  while (at("answers").children.length > ANSWERS_MAX) at("answers").lastChild.remove();
  at("answers-none").hidden = true;
  button.disabled = false;
});

// ---- asking the server, again and again -----------------------------------------------------------------------------

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  samples = [];
  look();
});

function locked() {
  at("figures").hidden = true;
  at("door").hidden = false;
  say("door-word", key ? "This key is not known here." : "");
  say("line", "A key is needed.");
  at("line").className = "";
  key = "";
  sessionStorage.removeItem("littoral-key");
}

function stale() {
  const age = heardMs ? Math.round((Date.now() - heardMs) / 1000) : 0;
  say("line", heardMs ? `The server is not heard for ${age} s. What is shown is from ${new Date(heardMs).toLocaleTimeString()}. Trying again.` : "The server does not answer. Trying again.");
  at("line").className = "lost";
  at("main").className = "stale";
}

async function look() {
  clearTimeout(timer);
  try {
    const index = await (await ask("v2/repository/index")).json();
    const figures = read(await (await ask("metrics")).text());
    if (!at("version").textContent) {
      const told = await (await ask("v2")).json();
      say("version", `version ${told.version}`);
    }
    if (key) sessionStorage.setItem("littoral-key", key);
    const last = { s: performance.now() / 1000, figures };
    samples.push(last);
    samples = samples.filter((one) => one.s >= last.s - KEPT_S);
    heardMs = Date.now();
    tiles(last);
    models(index, last);
    where(last);
    links(last);
    await choices(index);
    at("door").hidden = true;
    at("figures").hidden = false;
    at("main").className = at("line").className = "";
    say("line", "Live. Speeds are of the last minute, counts since the server started.");
  } catch (error) {
    if (error.isKey) return locked();
    stale();
  }
  if (!document.hidden) timer = setTimeout(look, EVERY_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && at("door").hidden) look(); });
say("place", location.host);
document.title = `${location.host} · Littoral`;
look();
