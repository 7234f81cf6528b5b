// What is known of one backend, below its row: its last minute, its last probes, and the facts.

import { facts } from "./alarm.js";
import { draw, make, mark, put } from "./dom.js";
import { age, clock, count, duration, octets, rate } from "./format.js";
import { drawLine, line } from "./series.js";

/** Probes that the agent remembers. */
const PROBES = 64;
/** Those that are also written out. */
const WRITTEN = 8;
/** The drawing's height, and what a probe's length is on: microseconds, by powers of ten. */
const HEIGHT = 48;
const SHORTEST = 10;
const LONGEST = 1_000_000;

export class Detail {
  constructor(backend, id, columns) {
    this.service = backend.service;
    this.name = backend.name;
    this.line = line("line large");
    this.highest = make("span", { class: "scale" });
    const box = { viewBox: `0 0 ${PROBES * 5} ${HEIGHT}`, preserveAspectRatio: "xMaxYMax" };
    this.bars = draw("svg", { class: "probes", role: "img", ...box });
    this.written = make("tbody");
    this.facts = make("dl", { class: "facts" });
    this.changes = make("ol", { class: "changes" });
    this.noProbes = make("p", { class: "quiet" }, "Asking the agent …");
    const head = (...names) =>
      make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
    const probes = make("table", {}, make("caption", {}, "The newest probes"),
      head("Began", "Outcome", "Took"), this.written);
    probes.querySelector("th:last-child").className = "number";
    const part = (title, ...children) => make("div", {}, make("h3", {}, title), ...children);
    const panel = make("div", { class: "panel", id, role: "group", "aria-label": `${backend.service}/${backend.name}` },
      part("Packets a second, last minute", this.highest, this.line.element,
        make("h3", {}, "Its transitions"), this.changes),
      part("Probes, oldest first", this.bars, this.noProbes, probes),
      part("What is known", this.facts));
    const cell = make("td", { role: "cell", colspan: columns }, panel);
    this.element = make("tr", { role: "row", class: "detail" }, cell);
  }

  /** The address of its history, below the page's own. */
  get path() {
    return `history/${encodeURIComponent(this.service)}/${encodeURIComponent(this.name)}`;
  }

  /** A status document has come. */
  show(row, model) {
    const { backend, series } = row;
    drawLine(this.line, series, series.highest);
    put(this.highest, `0 to ${rate(series.highest)}`);
    facts(this.facts, factsOf(backend, model.now));
    const changes = model.transitions.filter((transition) => transition.key === backend.key);
    const { up, down } = backend.transitions;
    const lines = [`Since the agent started: ${count(up)} × up, ${count(down)} × down`];
    for (const change of changes.slice(0, WRITTEN)) lines.push(changeOf(change, model.now));
    while (this.changes.children.length > lines.length) this.changes.lastElementChild.remove();
    while (this.changes.children.length < lines.length) this.changes.append(make("li"));
    lines.forEach((text, index) => put(this.changes.children[index], text));
  }

  /** Its history has come; null if the agent has none. */
  showHistory(history, now) {
    if (history === null) {
      put(this.noProbes, "The agent has no history of it.");
      return;
    }
    const { probes } = history;
    put(this.noProbes, probes.length === 0 ? "None yet." : "");
    this.#drawProbes(probes);
    const newest = probes.slice(0, WRITTEN);
    while (this.written.children.length > newest.length) this.written.lastElementChild.remove();
    while (this.written.children.length < newest.length) {
      this.written.append(make("tr", {}, make("td"), make("td"), make("td", { class: "number" })));
    }
    newest.forEach((probe, index) => {
      const [at, outcome, took] = this.written.children[index].children;
      put(at, clock(Date.parse(probe.at), now));
      put(outcome, probe.outcome);
      put(took, duration(probe.rtt_us));
    });
  }

  #drawProbes(probes) {
    const bars = this.bars.children;
    while (bars.length > probes.length) this.bars.lastElementChild.remove();
    while (bars.length < probes.length) this.bars.append(draw("path"));
    let failed = 0;
    probes.forEach((probe, index) => {
      const isPassed = probe.cause === "passed";
      failed += !isPassed;
      const x = (PROBES - 1 - index) * 5 + 2.5;
      mark(bars[index], "class", isPassed ? "passed" : probe.cause === "own_fault" ? "own-fault" : "failed");
      mark(bars[index], "d", isPassed ? bar(x, probe.rtt_us) : cross(x));
    });
    const told = failed === 0 ? "all passed" : `${count(failed)} did not pass`;
    mark(this.bars, "aria-label", `${count(probes.length)} probes, ${told}`);
  }
}

/** As long as the logarithm of what the probe took. */
function bar(x, micros) {
  const took = Math.min(Math.max(micros ?? SHORTEST, SHORTEST), LONGEST);
  const part = Math.log10(took / SHORTEST) / Math.log10(LONGEST / SHORTEST);
  return `M${x} ${HEIGHT}V${(HEIGHT - 3 - part * (HEIGHT - 4)).toFixed(1)}`;
}

/** No bar: another shape, so that it is not told by colour alone. */
function cross(x) {
  return `M${x} ${HEIGHT}V14M${x - 2} 4l4 4m0 -4l-4 4`;
}

function factsOf(backend, now) {
  const { probes, set_by: setBy } = backend;
  const causes = Object.entries(probes.causes).map(([cause, number]) => `${cause} ${count(number)}`);
  const mean = probes.rtt.count > 0 ? probes.rtt.sum_us / probes.rtt.count : null;
  const known = [
    ["Identity", backend.identity],
    ["MAC address", backend.local ? "this host" : backend.mac ?? "not known"],
    ["Interface", backend.interface],
    ["Health since", clock(backend.since, now)],
    ["Set by", setBy && `${setBy.by}, ${clock(Date.parse(setBy.at), now)}${setBy.reason ? `: ${setBy.reason}` : ""}`],
    ["Weight", `${count(backend.weight)}, configured ${count(backend.configured_weight)}`],
    ["Passes to come up", backend.passes_to_rise === null ? null : count(backend.passes_to_rise)],
    ["Steered to it", `${count(backend.packets)} packets, ${octets(backend.bytes)}`],
    ["Probes", `${count(probes.total)}, ${count(probes.failed)} failed, ${count(probes.own_faults)} this host's fault`],
    ["By outcome", causes.join(", ")],
    ["Mean of answers", mean === null ? null : duration(mean)],
    ["Begun late", `${count(probes.late)}, the latest by ${duration(probes.latest_us)}`],
  ];
  return known.filter(([, value]) => value);
}

/** A transition in a line. */
export function changeOf(change, now) {
  const why = change.reason ? `: ${change.reason}` : "";
  return `${clock(change.at, now)}, ${age(now - change.at)} ago: ${change.from} → ${change.to}${why}`;
}
