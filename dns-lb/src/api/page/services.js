// The table of services.

import { arrange, make, mark, put, show, sign, Views } from "./dom.js";
import { count, octets, rate } from "./format.js";
import { drawLine, line, Series } from "./series.js";

/** Rows at first, those in trouble before the others if there are more. */
const SHOWN = 10;

const element = (id) => document.getElementById(id);

export class Services {
  #views;
  #isWhole = false;

  /** `choose` is called with the name of a service whose backends somebody wants to see. */
  constructor(choose) {
    this.#views = new Views(() => makeRow(choose));
    element("more-services").addEventListener("click", () => {
      this.#isWhole = true;
      this.#arrange();
    });
  }

  show(model, at) {
    const rows = this.#views.of(model.services, (service) => service.key);
    rows.forEach((row, index) => fillRow(row, model.services[index], at));
    this.#arrange();
  }

  #arrange() {
    const all = this.#views.all;
    const isWhole = this.#isWhole || all.length <= SHOWN;
    const inTrouble = all.filter((row) => row.isInTrouble);
    const shown = isWhole ? all : [...inTrouble, ...all.filter((row) => !row.isInTrouble)].slice(0, SHOWN);
    arrange(element("services"), shown.map((row) => row.element));
    show(element("more-services"), !isWhole);
    put(element("more-services"), `Show all ${count(all.length)}`);
  }

  /** The last minute, as the agent has it, of these services. */
  seed(history, at) {
    for (const service of history.services) {
      const row = this.#views.get(JSON.stringify([service.name]));
      row?.series.seed(service.packets_per_second, at);
    }
  }

  forget() {
    for (const row of this.#views.all) row.series.seed([], null);
  }
}

function makeRow(choose) {
  const row = { series: new Series(), line: line(), name: null };
  const cell = (className, label, ...children) =>
    make("td", { role: "cell", class: className, "data-label": label }, ...children);
  row.button = make("button", { type: "button", class: "plain", title: "Show its backends" });
  row.button.addEventListener("click", () => choose(row.name));
  row.open = make("strong", { class: "loud", hidden: "" }, sign("down"), "failed open");
  row.vips = cell("wide mono", "Addresses");
  row.policy = cell("", "Policy");
  row.backends = cell("", "Backends");
  row.rate = cell("number", "Packets/s");
  row.drawn = cell("drawn", "Last minute", row.line.element);
  row.steered = cell("number", "Steered");
  row.lost = cell("number", "Not steered/s");
  const name = make("th", { role: "rowheader", scope: "row", class: "wide" }, row.button, " ", row.open);
  row.element = make("tr", { role: "row" }, name, row.vips, row.policy, row.backends, row.rate, row.drawn,
    row.steered, row.lost);
  return row;
}

function fillRow(row, service, at) {
  row.name = service.name;
  put(row.button, service.name);
  show(row.open, service.failed_open);
  const port = (vip) => (vip.includes(":") ? `[${vip}]:${service.port}` : `${vip}:${service.port}`);
  put(row.vips, `${service.vips.map(port).join(" ")} ${service.protocols.join("+")}`);
  put(row.policy, service.policy);
  const up = service.backends.filter((backend) => backend.health === "up").length;
  put(row.backends, `${count(up)} of ${count(service.backends.length)} up`);
  const hasLost = service.backends.some((backend) => backend.health === "down" && !backend.isOut);
  mark(row.backends, "data-level", hasLost ? "bad" : null);
  row.isInTrouble = hasLost || service.failed_open || !service.isServed;
  put(row.rate, rate(service.rate));
  put(row.steered, octets(service.bytes));
  put(row.lost, rate(service.notSteeredRate));
  mark(row.lost, "data-level", service.notSteeredRate > 0 ? "doubtful" : null);
  row.series.push(service.rate, at);
  drawLine(row.line, row.series, row.series.highest);
}
