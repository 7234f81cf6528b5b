// What the tests ask the page: by its words and names, as a person would find their way.

/** Rows out of sight have no text that is drawn, but their own. */
function plain(element) {
  const written = element.closest("#backends") ? element.textContent : element.innerText;
  return written.replace(/\s+/g, " ").trim();
}

const text = (id) => plain(document.getElementById(id));
const first = (selector) => plain(document.querySelector(selector));
const number = (written) => Number(written.replaceAll(",", ""));

/** The row of a backend. */
const row = (name) => [...document.querySelectorAll("#backends > tr")]
  .find((candidate) => candidate.querySelector(".toggle")?.textContent.endsWith(`/${name}`));
const cell = (name, label) => plain(row(name).querySelector(`[data-label="${label}"]`));
const why = (name) => plain(row(name).querySelector(".why"));
const drawn = (name) => row(name).querySelector(".line .stroke").getAttribute("d");

/** What is wider than the window. */
function sticksOut() {
  const page = document.scrollingElement;
  if (page.scrollWidth <= innerWidth) return "";
  const wide = [...document.body.querySelectorAll("*")]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1);
  return `${page.scrollWidth}: ${wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 200)).join("\n")}`;
}

const channels = (color) => color.match(/[\d.]+/g).map(Number);

/** Relative luminance (WCAG 2.1). */
function luminance([red, green, blue]) {
  const linear = [red, green, blue]
    .map((channel) => channel / 255)
    .map((channel) => (channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

/** The ground that an element's text stands on. */
function ground(element) {
  for (let above = element; above; above = above.parentElement) {
    const color = channels(getComputedStyle(above).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
}

/** Text with less contrast than 4.5 to 1, and signs with less than 3 to 1 (WCAG 2.1, 1.4.3 and 1.4.11). */
function faint() {
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    const isSign = element.matches(".sign");
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!isSign && !hasText) continue;
    const style = getComputedStyle(element);
    const ratio = contrast(channels(style.color), ground(element));
    if (style.opacity !== "1" || ratio < (isSign ? 3 : 4.5)) {
      found.push(`${ratio.toFixed(2)} ${style.color} ${element.outerHTML.slice(0, 120)}`);
    }
  }
  return found.slice(0, 5).join("\n");
}

/** Whether an element's words and signs have all the one colour of what is quiet. */
function isGrey(element) {
  const quiet = getComputedStyle(document.getElementById("host")).color;
  return [element, ...element.querySelectorAll("td, .badge, .sign, .toggle")]
    .every((part) => getComputedStyle(part).color === quiet);
}

/** What has the focus, and whether one sees that. */
function focus() {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return `${isSeen ? "" : "unseen "}${element.id || plain(element)}`;
}
