// Changes to the document, each made only where something is different. Text goes in as text: no value
// of the agent's is ever read as markup.

const SVG = document.querySelector("svg").namespaceURI;

/** An element with these attributes and children, which may be texts. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same of a drawing. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A sign of `index.html`, for the eye only. */
export function sign(name) {
  const use = draw("use", { href: `#sign-${name}` });
  return draw("svg", { class: "sign", "aria-hidden": "true" }, use);
}

export function put(element, text) {
  const only = element.firstChild;
  if (only instanceof Text && only === element.lastChild) {
    if (only.data !== text) only.data = text;
  } else if (only || text !== "") {
    element.textContent = text;
  }
}

/** Sets an attribute; takes it away if there is no value. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/** Gives `parent` these children in this order; those that are right are not touched. */
export function arrange(parent, children) {
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  while (next) {
    const gone = next;
    next = next.nextElementSibling;
    gone.remove();
  }
}

/** One view for each key, made when the key comes and forgotten when it goes. */
export class Views {
  #views = new Map();
  #make;

  constructor(makeView) {
    this.#make = makeView;
  }

  /** The views of these items, in their order. */
  of(items, key) {
    const views = new Map();
    for (const item of items) views.set(key(item), this.#views.get(key(item)) ?? this.#make(item));
    this.#views = views;
    return [...views.values()];
  }

  get(key) {
    return this.#views.get(key);
  }

  get all() {
    return [...this.#views.values()];
  }
}
