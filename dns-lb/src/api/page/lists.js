// The recent transitions, what is said of new ones to who does not see, and how packets ended.

import { arrange, make, mark, put, show, sign, Views } from "./dom.js";
import { MEANINGS } from "./endings.js";
import { age, clock, count, rate } from "./format.js";

const SHOWN = 12;
/** More at once are counted, not listed. */
const SPOKEN = 3;

const element = (id) => document.getElementById(id);

export class Transitions {
  #open;
  #isWhole = false;
  #newest = null;
  #items;

  /** `open` is called with the key of a backend that somebody wants to see. */
  constructor(open) {
    this.#open = open;
    this.#items = new Views((transition) => this.#makeItem(transition));
    element("more-transitions").addEventListener("click", () => {
      this.#isWhole = true;
      show(element("more-transitions"), false);
      this.show(this.model);
    });
  }

  /** Shows them, and returns what there is to say of those that are new. */
  show(model) {
    this.model = model;
    const { transitions, now } = model;
    const shown = this.#isWhole ? transitions : transitions.slice(0, SHOWN);
    const items = this.#items.of(shown, ({ key, at, to }) => `${key} ${at} ${to}`);
    items.forEach((item, index) => put(item.ago, `${age(now - shown[index].at)} ago`));
    arrange(element("transitions"), items.map((item) => item.element));
    show(element("no-transitions"), transitions.length === 0);
    show(element("more-transitions"), shown.length < transitions.length);
    put(element("more-transitions"), `Show all ${count(transitions.length)}`);
    return this.#news(transitions);
  }

  /** Says what is new, once; what was there before the page is not. */
  #news(transitions) {
    const last = this.#newest ?? Infinity;
    this.#newest = Math.max(transitions[0]?.at ?? 0, this.#newest ?? 0);
    return spoken(transitions.filter((transition) => transition.at > last));
  }

  #makeItem({ key, at, service, backend, from, to, reason }) {
    const who = make("button", { type: "button", class: "plain" }, make("span", { class: "quiet" }, `${service}/`), backend);
    who.addEventListener("click", () => this.#open(key));
    const ago = make("span", { class: "ago quiet" });
    const what = make("span", { class: "what" }, `${from} → `, make("strong", {}, to), reason ? `: ${reason}` : "");
    const time = make("time", { datetime: new Date(at).toISOString(), class: "number" }, clock(at));
    const item = make("li", { "data-state": to }, sign(to === "up" || to === "down" ? to : "unknown"), time, ago, who, what);
    return { element: item, ago };
  }
}

function spoken(news) {
  if (news.length <= SPOKEN) {
    const each = news.map(({ service, backend, to, reason }) => `${service}/${backend} is ${to}${reason ? `, ${reason}` : ""}`);
    return each.reverse().join("; ");
  }
  const down = news.filter((transition) => transition.to === "down").length;
  return `${count(news.length)} changes: ${count(down)} backends down, ${count(news.length - down)} up`;
}

/** Has a screen reader say these sentences when it has time; nothing, if they are empty. */
export function announce(sentences) {
  const said = sentences.filter((sentence) => sentence !== "");
  if (said.length > 0) put(element("announcement"), said.join(". "));
}

export class Endings {
  #rows = new Views(([name]) => makeEnding(name));

  show({ document: status }, rates) {
    const { total } = status.dataplane.counters;
    const places = Object.keys(MEANINGS);
    const listed = Object.entries(total).filter(([name, packets]) => packets > 0 || name === places[0]);
    listed.sort(([a], [b]) => places.indexOf(a) - places.indexOf(b));
    const rows = this.#rows.of(listed, ([name]) => name);
    rows.forEach((row, index) => {
      const [name, packets] = listed[index];
      const perSecond = rates.of(`ending ${name}`, packets);
      put(row.packets, count(packets));
      put(row.rate, rate(perSecond));
      mark(row.rate, "data-level", perSecond > 0 && row.isDropped ? "doubtful" : null);
    });
    arrange(element("endings"), rows.map((row) => row.element));
  }
}

function makeEnding(name) {
  const meaning = MEANINGS[name] ?? "";
  const row = { packets: make("td", { class: "number" }), rate: make("td", { class: "number" }) };
  row.isDropped = meaning.startsWith("Dropped");
  const term = make("th", { scope: "row" }, make("code", {}, name), make("span", { class: "meaning quiet" }, meaning));
  row.element = make("tr", {}, term, row.packets, row.rate);
  return row;
}
