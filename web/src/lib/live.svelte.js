// What the hub tells live, by server-sent events: sites, alarms, and whether it can be heard at all.
import { ask } from "./api.js";

export const live = $state({
  status: "connecting", // connecting | open | lost
  lostSinceS: 0,
  heardS: 0,
  nowS: Date.now() / 1000,
  hub: null,
});

// Raw: the rows are replaced, never changed, and two thousand of them need no watching one by one.
class Fleet {
  rows = $state.raw([]);
  alarms = $state.raw([]);
  loaded = $state(false);
}
export const fleet = new Fleet();
const byName = new Map();
let source = null;
let retry = null;
let wanted = false; // between `start` and `stop`

// The hub's clock, so that ages are right on a computer whose own clock is wrong.
let aheadS = 0;
const localS = () => Date.now() / 1000;
setInterval(() => (live.nowS = localS() + aheadS), 1000);

// Drawn at most each animation frame, however many messages come; a large fleet, which comes in pieces, thrice a second.
const MANY = 200;
const MANY_EVERY_MS = 350;
let due = false;
let drawnMs = -Infinity;
function draw() {
  if (due) return;
  due = true;
  const restMs = byName.size > MANY ? drawnMs + MANY_EVERY_MS - performance.now() : 0;
  const now = () =>
    requestAnimationFrame(() => {
      due = false;
      drawnMs = performance.now();
      fleet.rows = [...byName.values()];
      fleet.loaded = true;
    });
  if (restMs > 0) setTimeout(now, restMs);
  else now();
}

function heard(data) {
  live.heardS = localS();
  if (data.now_s) {
    aheadS = data.now_s - localS();
    live.nowS = data.now_s;
  }
}

function open() {
  source = new EventSource("/v1/live");
  source.addEventListener("hello", (message) => {
    const data = JSON.parse(message.data);
    heard(data);
    byName.clear();
    live.hub = data.hub;
    fleet.alarms = data.alarms ?? [];
    live.status = "open";
    document.title = `Littoral · ${data.hub.name}`;
  });
  source.addEventListener("sites", (message) => {
    const data = JSON.parse(message.data);
    heard(data);
    for (const row of data.sites) byName.set(row.name, row);
    for (const name of data.gone ?? []) byName.delete(name);
    draw();
  });
  source.addEventListener("alarms", (message) => {
    const data = JSON.parse(message.data);
    heard(data);
    fleet.alarms = data.alarms;
  });
  source.addEventListener("beat", (message) => heard(JSON.parse(message.data)));
  source.onerror = () => lost();
}

function lost() {
  source?.close();
  source = null;
  if (live.status !== "lost") {
    live.status = "lost";
    live.lostSinceS = live.heardS || localS();
  }
  clearTimeout(retry);
  retry = setTimeout(comeBack, 1000 + Math.random() * 1000);
}

// A stream that is refused does not say why; a question does, and a session that is over leads to the door.
async function comeBack() {
  try {
    await ask("/v1/me");
  } catch (error) {
    if (wanted) lost();
    return;
  }
  if (wanted && source === null) open();
}

// A connection may die without a word: the hub beats at least every five seconds.
let watch = null;

export function start() {
  stop();
  wanted = true;
  live.status = "connecting";
  open();
  watch = setInterval(() => {
    if (live.status === "open" && localS() - live.heardS > 12) lost();
  }, 2000);
}

export function stop() {
  wanted = false;
  clearTimeout(retry);
  clearInterval(watch);
  source?.close();
  source = null;
  byName.clear();
  fleet.rows = [];
  fleet.alarms = [];
  fleet.loaded = false;
}

export const siteOf = (name) => fleet.rows.find((row) => row.name === name);
