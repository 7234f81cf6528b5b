// Asks the agent for its status once a second and has it shown. Says at once when there is no answer:
// nothing on this page is taken for live that is older than three seconds.

import { Alarm } from "./alarm.js";
import { Backends } from "./backends.js";
import { announce, Endings, Transitions } from "./lists.js";
import { read } from "./model.js";
import { Rates } from "./series.js";
import { Services } from "./services.js";

const INTERVAL = 1000;
/** Between attempts when the agent does not answer, and at most. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 5000;
const GIVE_UP = 8000;
const STALE_AFTER = 3000;
/** A difference between the agent's clock and this one that is no matter of rounding. */
const CLOCKS_DIFFER = 2000;

const backends = new Backends();
const alarm = new Alarm((key) => backends.open(key));
const transitions = new Transitions((key) => backends.open(key));
const services = new Services((name) => {
  backends.filter(`${name}/`);
  document.getElementById("backends-title").scrollIntoView();
});
const endings = new Endings();
const rates = new Rates();

const loaded = stamp();

let model = null;
/** When the shown document was asked for; null before the first. */
let asked = null;
let isLive = false;
/** Whether somebody has been told that there is no answer. */
let isLost = false;
/** What was said in place of a document. */
let why = "";
let pause = FIRST_PAUSE;
let startedAt = null;
let timer = null;
let isAsking = false;
let isDrilling = false;
/** Since when somebody may see the page. */
let seen = loaded;

/** Now by both clocks: one stands while the machine sleeps, the other may be set back. */
function stamp() {
  return { steady: performance.now(), wall: Date.now() };
}

function since(then) {
  return Math.max(performance.now() - then.steady, Date.now() - then.wall);
}

async function get(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP) });
  if (!response.ok) {
    const [line] = (await response.text()).split("\n");
    const error = new Error(line.slice(0, 200));
    error.status = response.status;
    throw error;
  }
  return { value: await response.json(), date: Date.parse(response.headers.get("date")) };
}

async function poll() {
  if (document.hidden || isAsking) return;
  isAsking = true;
  const start = stamp();
  try {
    const { value, date } = await get("status");
    take(value, date, start);
    pause = FIRST_PAUSE;
    // A document that is long in coming is asked for less often, unless nothing else is known.
    const took = since(start);
    schedule(isLive ? Math.max(INTERVAL - took, took) : INTERVAL);
    drillDown();
  } catch (error) {
    lose(error.status ? error.message : "");
    schedule(pause);
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  } finally {
    isAsking = false;
  }
}

function schedule(wait) {
  clearTimeout(timer);
  timer = setTimeout(poll, wait);
}

function take(status, date, start) {
  if (status.started_at !== startedAt) {
    // Another agent: what was before says nothing of its rates.
    rates.forget();
    services.forget();
    backends.forget();
    startedAt = status.started_at;
  }
  rates.begin(start.steady);
  const differs = Math.abs(date - Date.now()) > CLOCKS_DIFFER;
  model = read(status, differs ? date : Date.now(), rates);
  alarm.show(model);
  services.show(model, start.steady);
  backends.show(model, start.steady);
  endings.show(model, rates);
  const news = transitions.show(model);
  asked = start;
  if (since(start) > STALE_AFTER) {
    // It was so long in coming that it says nothing of now.
    lose("");
    return;
  }
  alarm.live(model, start.wall);
  // Hidden meanwhile: nobody will ask again until it is seen.
  if (document.hidden) alarm.pause();
  announce([isLost ? "The agent answers again" : "", news]);
  if (!isLive) seed();
  isLive = true;
  isLost = false;
}

/** The minute before now, as the agent remembers it; one that does not leaves what is here. */
async function seed() {
  try {
    const { value } = await get("history");
    const at = performance.now();
    services.seed(value, at);
    backends.seed(value, at);
  } catch {
    // The next status says whether the agent is gone.
  }
}

/** What open panels show beyond the status. */
async function drillDown() {
  if (isDrilling) return;
  isDrilling = true;
  await Promise.all(backends.panels.map(async (panel) => {
    try {
      panel.showHistory((await get(panel.path)).value, model.now);
    } catch (error) {
      if (error.status === 404) panel.showHistory(null, model.now);
    }
  }));
  isDrilling = false;
}

/** There was no answer, or none came in time. */
function lose(reason) {
  if (!isLost && !document.hidden) announce(["No answer from the agent"]);
  isLost = true;
  why = reason;
  grey();
}

function grey() {
  isLive = false;
  alarm.stale({ silence: since(asked ?? loaded), at: asked?.wall ?? null, why });
}

/** Between answers: is what is shown still true? */
function watch() {
  if (document.hidden) return;
  if (isLost) grey();
  else if (since(asked ?? loaded) > STALE_AFTER && since(seen) > STALE_AFTER) lose("");
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    alarm.pause();
    return;
  }
  seen = stamp();
  if (asked !== null && since(asked) > STALE_AFTER) {
    // Nobody has asked meanwhile; that is no news to speak of.
    why = "nobody asked: this tab was hidden";
    grey();
  }
  schedule(0);
});

document.addEventListener("keydown", (event) => {
  const filter = document.getElementById("filter");
  const isTyping = event.target.matches("input, textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === "Escape" && event.target === filter) {
    backends.filter("");
  }
});

setInterval(watch, 250);
poll();
