// The top of the page: whether what is shown is live, what is wrong, and what runs here.

import { arrange, make, mark, put, show, sign, Views } from "./dom.js";
import { age, clock, count, rate } from "./format.js";

/** As many problems as one takes in; the table below has the others first too. */
const SHOWN = 8;

const element = (id) => document.getElementById(id);
const SIGNS = { fine: "up", doubtful: "warning", bad: "down" };
const COLORS = { fine: "1a7f37", doubtful: "b07800", bad: "c62828", stale: "777777" };

export class Alarm {
  #open;
  #items;

  /** `open` is called with the key of a backend that somebody wants to see. */
  constructor(open) {
    this.#open = open;
    this.#items = new Views(() => this.#makeItem());
    put(element("host"), location.host);
  }

  /** A document has come. */
  show(model) {
    const { document: status, problems, level, headline } = model;
    document.body.dataset.level = level;
    put(element("headline"), headline);
    mark(element("headline-sign"), "href", `#sign-${SIGNS[level]}`);
    const shown = problems.slice(0, SHOWN);
    const items = this.#items.of(shown, keyOfProblem);
    items.forEach((item, index) => this.#fillItem(item, shown[index], model.now));
    const elements = items.map((item) => item.element);
    if (problems.length > SHOWN) elements.push(this.#more(problems.length - SHOWN));
    arrange(element("problems"), elements);

    put(element("total-rate"), rate(sum(model.services.map((service) => service.rate))));
    const started = Date.parse(status.started_at);
    const attached = status.dataplane.interfaces.map(({ name, mode }) => `${name} (${mode})`);
    facts(element("facts"), [
      ["Version", status.version],
      ["Up for", `${age(model.now - started)}, since ${clock(started)}`],
      ["Attached to", attached.join(", ") || "nothing"],
      ["Tables", `generation ${count(status.generation)}`],
      ...(status.tables?.failed ? [["Table builds failed", count(status.tables.failed)]] : []),
    ]);
  }

  /** Says that what is shown is of now. */
  live(model, at) {
    document.body.dataset.state = "live";
    show(element("stale"), false);
    put(element("live-text"), `live, ${clock(at)}`);
    const isFine = model.level === "fine";
    this.#title(isFine ? `${location.host}: all well` : model.headline, model.level);
  }

  /** Says that it is not: for how long, since when, and why. */
  stale({ silence, at, why }) {
    document.body.dataset.state = at === null ? "waiting" : "stale";
    const what = at === null ? "There is nothing to show yet." : `What follows is of ${clock(at)}.`;
    put(element("stale"), `No answer from the agent for ${age(silence)}${why ? ` (${why})` : ""}. ${what}`);
    show(element("stale"), true);
    put(element("live-text"), at === null ? "no answer" : `not live, of ${clock(at)}`);
    if (at === null) put(element("headline"), "The agent does not answer");
    this.#title(`no answer from ${location.host}`, "stale");
  }

  /** Says that nobody asks: a tab that is not seen is read by its title. */
  pause() {
    this.#title(`${location.host}: not watching`, "stale");
  }

  #title(text, level) {
    const title = `${text} – dns-lb`;
    if (document.title === title) return;
    document.title = title;
    const circle = `%3Csvg xmlns='${document.querySelector("svg").namespaceURI}' viewBox='0 0 16 16'%3E`
      + `%3Ccircle cx='8' cy='8' r='7' fill='%23${COLORS[level]}'/%3E%3C/svg%3E`;
    mark(document.querySelector("link[rel=icon]"), "href", `data:image/svg+xml,${circle}`);
  }

  #makeItem() {
    const item = { element: make("li"), sign: make("span"), text: make("span"), key: null };
    item.who = make("a");
    item.who.addEventListener("click", (event) => {
      event.preventDefault();
      this.#open(item.key);
    });
    item.what = make("strong");
    item.detail = make("span", { class: "detail-text" });
    item.element.append(item.sign, make("span", {}, item.who, " ", item.what, " ", item.detail));
    return item;
  }

  #fillItem(item, problem, now) {
    const { backend } = problem;
    item.key = backend?.key ?? null;
    mark(item.element, "class", problem.level);
    if (item.signName !== problem.sign) item.sign.replaceChildren(sign(problem.sign));
    item.signName = problem.sign;
    show(item.who, Boolean(backend));
    if (backend) {
      mark(item.who, "href", "#backends-title");
      put(item.who, `${backend.service}/${backend.name}`);
    }
    const isDown = backend && problem.level === "bad";
    const what = isDown ? `${problem.text} for ${age(now - backend.since)}` : problem.text;
    put(item.what, problem.detail ? `${what}:` : what);
    put(item.detail, problem.detail);
  }

  #more(number) {
    this.moreItem ??= make("li", { class: "rest" });
    put(this.moreItem, `and ${count(number)} more, first in the table of backends`);
    return this.moreItem;
  }
}

function keyOfProblem(problem) {
  return problem.backend?.key ?? problem.text;
}

/** The sum of what is known; null if nothing is. */
function sum(values) {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? known.reduce((total, value) => total + value, 0) : null;
}

/** A list of terms and what each is. */
export function facts(list, entries) {
  while (list.children.length > entries.length) list.lastElementChild.remove();
  while (list.children.length < entries.length) list.append(make("div", {}, make("dt"), make("dd")));
  entries.forEach(([term, value], index) => {
    const [dt, dd] = list.children[index].children;
    put(dt, term);
    put(dd, value);
  });
}
