// The table of backends: a row each, in place, and a panel below a row that somebody has opened.

import { arrange, make, mark, put, show, sign, Views } from "./dom.js";
import { Detail } from "./detail.js";
import { age, clock, count, duration, percent, rate } from "./format.js";
import { signOf, stateOf } from "./model.js";
import { filterOf, Order } from "./order.js";
import { drawLine, line, Series } from "./series.js";

/** Panels that are open at once: each asks the agent once a second. */
const OPEN = 4;
/** Rows at first. */
const SHOWN = 100;
/** A probe that is older is not news. */
const OLD_PROBE = 10_000;
const COLUMNS = 9;

const element = (id) => document.getElementById(id);
let rows = 0;

export class Backends {
  #views = new Views((backend) => this.#makeRow(backend));
  #order = new Order();
  #filter = filterOf("");
  #open = new Map();
  #model = null;
  #isWhole = false;
  /** Lines are drawn where somebody sees them. */
  #seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const row = this.#views.get(entry.target.key);
      if (!row) continue;
      row.isSeen = entry.isIntersecting;
      if (row.isSeen) drawLine(row.line, row.series, row.highest);
    }
  }, { rootMargin: "200px" });

  constructor() {
    for (const header of element("columns").querySelectorAll("[data-column]")) {
      header.firstElementChild.addEventListener("click", () => {
        this.#order.by(header.dataset.column);
        this.#showOrder();
        this.#arrange(true);
      });
    }
    element("filter").addEventListener("input", () => this.#filterBy(element("filter").value));
    element("more-backends").addEventListener("click", () => {
      this.#isWhole = true;
      this.#arrange(true);
    });
  }

  show(model, at) {
    this.#model = model;
    const views = this.#views.of(model.backends, (backend) => backend.key);
    const highest = new Map();
    views.forEach((row, index) => {
      row.series.push(model.backends[index].rate, at);
      const { service } = model.backends[index];
      highest.set(service, Math.max(highest.get(service) ?? 0, row.series.highest));
    });
    views.forEach((row, index) => {
      const backend = model.backends[index];
      // One scale for a service's backends: so one sees who has less than the others.
      row.highest = highest.get(backend.service);
      fillRow(row, backend, model.now);
      if (row.isSeen) drawLine(row.line, row.series, row.highest);
    });
    for (const key of [...this.#open.keys()]) {
      if (this.#views.get(key)) this.#open.get(key).show(this.#views.get(key), model);
      else this.#open.delete(key);
    }
    this.#arrange(false);
  }

  /** The last minute, as the agent has it. */
  seed(history, at) {
    for (const service of history.services) {
      for (const backend of service.backends) {
        const row = this.#views.get(JSON.stringify([service.name, backend.name]));
        row?.series.seed(backend.packets_per_second, at);
      }
    }
  }

  forget() {
    for (const row of this.#views.all) row.series.seed([], null);
  }

  /** Shows only those that have these words. */
  filter(words) {
    element("filter").value = words;
    this.#filterBy(words);
  }

  /** Brings a backend's row before the eyes, with its panel. */
  open(key) {
    const row = this.#views.get(key);
    if (!row) return;
    if (!this.#filter(row.backend)) this.filter("");
    if (!this.#open.has(key)) this.#toggle(row);
    this.#arrange(true);
    row.toggle.scrollIntoView({ block: "center" });
    row.toggle.focus({ preventScroll: true });
  }

  /** The panels that are open now, with what each is about. */
  get panels() {
    return [...this.#open.values()];
  }

  #filterBy(words) {
    this.#filter = filterOf(words);
    if (this.#model) this.#arrange(true);
  }

  #showOrder() {
    for (const header of element("columns").querySelectorAll("[data-column]")) {
      const isSorted = header.dataset.column === this.#order.column;
      const direction = this.#order.isAscending ? "ascending" : "descending";
      mark(header, "aria-sort", isSorted ? direction : null);
    }
  }

  /** Puts the rows in order. A row does not move under somebody's hand, unless that is what was asked. */
  #arrange(isAsked) {
    const body = element("backends");
    const all = this.#model.backends;
    const found = this.#order.of(all.filter(this.#filter));
    const shown = this.#isWhole ? found : found.slice(0, SHOWN);
    // One that somebody has opened stays.
    for (const backend of found.slice(shown.length)) if (this.#open.has(backend.key)) shown.push(backend);
    const wanted = new Set();
    for (const { key } of shown) {
      wanted.add(this.#views.get(key).element);
      if (this.#open.has(key)) wanted.add(this.#open.get(key).element);
    }
    const isBusy = body.matches(":hover") || body.contains(document.activeElement);
    const isSame = body.children.length === wanted.size && [...body.children].every((row) => wanted.has(row));
    if (isAsked || !isBusy || !isSame) arrange(body, wanted);
    put(element("shown"), shown.length === all.length ? count(all.length) : `${count(shown.length)} of ${count(all.length)}`);
    show(element("nothing"), found.length === 0 && all.length > 0);
    show(element("more-backends"), shown.length < found.length);
    put(element("more-backends"), `Show all ${count(found.length)}`);
  }

  #toggle(row) {
    const { key } = row.backend;
    if (this.#open.has(key)) {
      this.#close(key);
    } else {
      if (this.#open.size >= OPEN) this.#close(this.#open.keys().next().value);
      const detail = new Detail(row.backend, `panel-${row.number}`, COLUMNS);
      this.#open.set(key, detail);
      row.element.after(detail.element);
      mark(row.toggle, "aria-expanded", "true");
      mark(row.toggle, "aria-controls", `panel-${row.number}`);
      detail.show(row, this.#model);
    }
  }

  #close(key) {
    this.#open.get(key).element.remove();
    this.#open.delete(key);
    const row = this.#views.get(key);
    mark(row?.toggle, "aria-expanded", "false");
    mark(row?.toggle, "aria-controls", null);
  }

  #makeRow(backend) {
    rows += 1;
    const row = { number: rows, series: new Series(), line: line(), isSeen: false, backend };
    const cell = (className, label, ...children) =>
      make("td", { role: "cell", class: className, "data-label": label }, ...children);
    row.toggle = make("button", { type: "button", class: "plain toggle", "aria-expanded": "false" });
    row.toggle.append(make("span", { class: "quiet" }, `${backend.service}/`), backend.name);
    row.toggle.addEventListener("click", () => this.#toggle(row));
    row.state = make("span");
    row.sign = make("span");
    row.why = make("span", { class: "why" });
    row.bar = make("span", { class: "bar", "aria-hidden": "true" }, make("span"));
    row.share = make("span", { class: "value" });
    row.rate = cell("number rate", "Packets/s");
    row.probe = cell("number probe", "Last probe");
    row.weight = cell("number weight", "Weight");
    row.since = cell("number since", "Since");
    row.address = cell("mono address", "Address");
    row.element = make("tr", { role: "row" },
      make("th", { role: "rowheader", scope: "row", class: "name" }, row.toggle),
      cell("state", "State", make("span", { class: "badge" }, row.sign, row.state), " ", row.why),
      cell("number share", "Share", row.bar, row.share),
      row.rate,
      cell("drawn", "Last minute", row.line.element),
      row.probe, row.weight, row.since, row.address);
    row.element.key = backend.key;
    this.#seen.observe(row.element);
    return row;
  }
}

function fillRow(row, backend, now) {
  row.backend = backend;
  const signName = signOf(backend);
  if (row.signName !== signName) {
    row.sign.replaceChildren(sign(signName));
    mark(row.element, "data-state", signName);
    row.signName = signName;
  }
  put(row.state, stateOf(backend));
  put(row.why, backend.why.join("; "));
  put(row.share, percent(backend.share));
  if (row.barShare !== backend.share) row.bar.firstElementChild.style.width = `${100 * backend.share}%`;
  row.barShare = backend.share;
  put(row.rate, rate(backend.rate));
  put(row.probe, probeOf(backend.last_probe, now));
  put(row.weight, count(backend.weight));
  put(row.since, age(now - backend.since));
  if (row.sinceTime !== backend.since) mark(row.since, "title", clock(backend.since, now));
  row.sinceTime = backend.since;
  put(row.address, backend.address);
}

function probeOf(probe, now) {
  if (!probe) return "none yet";
  const took = probe.cause === "passed" ? duration(probe.rtt_us) : probe.cause.replaceAll("_", " ");
  const ago = now - Date.parse(probe.at);
  return ago > OLD_PROBE ? `${took}, ${age(ago)} ago` : took;
}
