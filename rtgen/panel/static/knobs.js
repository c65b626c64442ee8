// Knobs: the four large ones of a preset, all the others in groups, and MIDI learn.

import { hello, say, state } from "./link.js";
import { thumb } from "./rolls.js";

const $ = (id) => document.getElementById(id);
const GROUPS = [["answer", "Answer"], ["attributes", "Attributes (middle: as you played)"], ["latents", "Latent dimensions of the model"], ["band", "Parts of the band"], ["playing", "Playing"]];
export const ATTRIBUTES = 6; // the first dimensions of a map; the model's latent dimensions follow (latent1 ...)
const FINER = 10;
const ECHO_MS = 1000;
const SAYS_MS = 6000;

export let learning = false;
let held = null; // the knob being dragged
let saying = null;
let large = []; // the names of the large ones
const turned = {}; // per knob, the timer since it was last turned here: echoes of its earlier values wait meanwhile
const echoes = {}; // the latest of them
const boxes = {};
const turns = {}; // per knob, how it is turned

export function element(tag, properties) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "role" || name === "style") found.setAttribute(name, value);
    else if (name === "htmlFor" && tag === "output") found.setAttribute("for", value);
    else found[name] = value;
  }
  return found;
}

export function build(parameters) {
  for (const p of parameters) boxes[p.name] = knob(p);
  $("groups").replaceChildren(...GROUPS.map(([name, title]) => {
    // The latent dimensions are many and rarely used, so their group starts collapsed.
    const group = element("details", { open: !["latents", "band"].includes(name), id: `group-${name}` });
    group.append(element("summary", { textContent: title }), element("div", { className: "group" }));
    return group;
  }));
  arrange([]);
  $("learn").onclick = () => teach(!learning);
  $("learn-over").onclick = () => say({ over: true });
}

// Puts the large knobs of what plays in front, and the others into their groups.
export function macros(mode, drums) {
  const names = hello.front[drums ? "drums" : "pitches"][mode] ?? [];
  if (names.join() !== large.join()) arrange(names), $("group-band").open = mode === "accompany";
  for (const p of hello.parameters) {
    const acts = p.modes.includes(mode) && p.of !== (drums ? "pitches" : "drums");
    boxes[p.name].classList.toggle("rests", !acts);
    boxes[p.name].title = acts ? p.help : `${p.help} (not in this preset)`;
  }
}

function arrange(names) {
  large = names;
  const all = hello.parameters.map((p) => p.name);
  const mutes = names.map((name) => name.replace("_level", "_mute")).filter((name) => !names.includes(name) && all.includes(name));
  $("macros").replaceChildren(...names.map((name) => boxes[name]).filter(Boolean));
  for (const p of hello.parameters) named(p.name, p.name.replace("_", " "));
  // A part's mute stands beside its level, as on a mixer.
  for (const name of mutes) {
    const level = name.replace("_mute", "_level");
    boxes[level].append(boxes[name]);
    named(level, name.replace("_mute", ""));
    named(name, "mute");
    boxes[name].querySelector("input").ariaLabel = name.replace("_", " ");
  }
  $("macros").classList.toggle("fades", names.includes("blend"));
  for (const p of hello.parameters) {
    if (!names.includes(p.name) && !mutes.includes(p.name)) $(`group-${p.group}`).lastElementChild.append(boxes[p.name]);
  }
}

function named(name, word) {
  boxes[name].querySelector("label span").textContent = word;
}

function knob(p) {
  const box = element("div", { className: "knob", id: `knob-${p.name}`, title: p.help });
  const label = element("label", { htmlFor: `turn-${p.name}` });
  label.append(element("span", { textContent: p.name.replace("_", " ") }), element("small", { className: "badge" }));
  const isSwitch = p.taper === "switch";
  const input = p.choices.length ? element("select", { id: `turn-${p.name}` })
    : element("input", { id: `turn-${p.name}`, type: isSwitch ? "checkbox" : "range" });
  input.append(...p.choices.map((choice, i) => element("option", { value: i, textContent: choice })));
  const output = element("output", { htmlFor: input.id });
  if (input.type === "range") Object.assign(input, { min: p.low, max: p.high, step: p.taper === "whole" ? 1 : "any", value: p.default });
  const turn = (value) => {
    say({ set: [p.name, value] });
    shown(p, value);
    settle(p);
  };
  const step = (way, fine) => {
    // With step "any" the browser's own key step is arbitrary.
    const by = p.taper === "whole" ? 1 : (p.high - p.low) / (fine ? 200 : 50);
    turn(Math.min(Math.max((state[p.name]?.[0] ?? p.default) + way * by, p.low), p.high));
  };
  input.oninput = () => turn(isSwitch ? (input.checked ? p.high : p.low) : Number(input.value));
  input.onpointerdown = (event) => {
    if (learning) return event.preventDefault(), choose(p.name);
    held = p.name;
    if (event.shiftKey && input.type === "range") drag(event);
  };
  // With Shift the knob follows the pointer from where it is, ten times finer.
  const drag = (event) => {
    event.preventDefault();
    input.focus();
    input.setPointerCapture(event.pointerId);
    const [from, was] = [event.clientX, state[p.name]?.[0] ?? p.default];
    input.onpointermove = (now) => {
      const by = ((now.clientX - from) / input.clientWidth) * ((p.high - p.low) / FINER);
      const value = Math.min(Math.max(was + by, p.low), p.high);
      turn(p.taper === "whole" ? Math.round(value) : value);
    };
  };
  input.onpointerup = input.onpointercancel = () => { held = input.onpointermove = null, settle(p); };
  input.onkeydown = (event) => {
    if (input.type !== "range" || !["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    step(event.key === "ArrowLeft" || event.key === "ArrowDown" ? -1 : 1, event.shiftKey);
  };
  if (input.type === "range") {
    input.addEventListener("wheel", (event) => {
      // Whoever scrolls past a knob does not mean to turn it.
      if (document.activeElement !== input && !large.includes(p.name)) return;
      event.preventDefault();
      step(event.deltaY > 0 ? -1 : 1, event.shiftKey);
    }, { passive: false });
  }
  label.ondblclick = () => turn(p.default);
  if (input.type === "range") input.ondblclick = () => turn(p.default);
  label.onclick = (event) => {
    if (learning) event.preventDefault(), choose(p.name);
  };
  box.append(label, input, output);
  if (p.name === "blend") box.append(...["a", "b"].map((end, i) => fadeTo(end, () => turn(i ? p.high : p.low))));
  turns[p.name] = turn;
  setTimeout(() => shown(p, state[p.name]?.[0] ?? p.default));
  return box;
}

// An end of the blend: its loop, and a click that fades there.
function fadeTo(end, fade) {
  const button = element("button", { type: "button", className: "end", id: `end-${end}`, title: `all of ${end.toUpperCase()}` });
  button.append(element("b", { textContent: end.toUpperCase() }), element("canvas", { width: 240, height: 96 }));
  button.onclick = fade;
  return button;
}

// Turns a knob from elsewhere on the page.
export function turnTo(name, value) {
  turns[name]?.(value);
}

// Shows the loop at an end of the blend; none is stored if it is empty.
export function stored(end, flat) {
  const button = $(`end-${end}`);
  if (!button) return;
  thumb(button.lastElementChild, flat, end === "a" ? "played" : "fresh");
  button.title = flat.length ? `all of ${end.toUpperCase()}` : `nothing is stored as ${end.toUpperCase()} yet`;
}

// Writes the control that each knob and button is bound to beside it.
export function bound(pairs) {
  document.querySelectorAll(".badge").forEach((badge) => { badge.textContent = ""; });
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const badge = (boxes[pairs[i]] ?? $(`press-${pairs[i]}`))?.querySelector(".badge");
    if (badge) badge.textContent = pairs[i + 1];
  }
}

// Shows what the server says of a knob once it has not been turned here for a while.
function settle(p) {
  clearTimeout(turned[p.name]);
  turned[p.name] = setTimeout(() => {
    if (held === p.name) return settle(p);
    delete turned[p.name];
    if (p.name in echoes) shown(p, echoes[p.name]);
    delete echoes[p.name];
  }, ECHO_MS);
}

// Takes what the server says of a parameter; returns whether there is one of that name.
export function told(name, value) {
  const p = hello?.parameters.find((each) => each.name === name);
  if (!p) return false;
  if (held === name || name in turned) echoes[name] = value;
  else shown(p, value);
  return true;
}

function shown(p, value) {
  const box = boxes[p.name];
  const input = box?.querySelector("input, select");
  if (!input) return;
  state[p.name] = [value];
  if (input.type === "checkbox") input.checked = value > (p.low + p.high) / 2;
  else input.value = p.choices.length ? Math.round(value) : value;
  input.style.setProperty("--at", (value - p.low) / (p.high - p.low)); // how far its track is filled
  box.querySelector("output").textContent = p.taper === "switch" ? (input.checked ? "on" : "off")
    : p.choices.length ? "" : p.taper === "whole" ? `${value > 0 && p.low < 0 ? "+" : ""}${Math.round(value)}` : value.toFixed(2);
  box.classList.toggle("turned", Math.abs(value - p.default) > 1e-3);
}

// Names the model's own dimensions, and hides those that it lacks.
export function dimensions(names) {
  const own = names.slice(ATTRIBUTES);
  for (let i = 0; boxes[`latent${i + 1}`]; i += 1) {
    boxes[`latent${i + 1}`].hidden = i >= own.length;
    boxes[`latent${i + 1}`].querySelector("label span").textContent = own[i] ?? `latent${i + 1}`;
  }
  $("group-latents").hidden = !own.length;
}

// ---- learning -------------------------------------------------------------------------------------------------------

export function teach(on, says = "") {
  learning = on;
  document.body.classList.toggle("learning", on);
  $("learn").setAttribute("aria-pressed", String(on));
  $("learn-over").hidden = true;
  unmark();
  $("learn-says").textContent = on ? "click a knob or button on this page" : says;
  clearTimeout(saying);
  if (says) saying = setTimeout(() => { $("learn-says").textContent = ""; }, SAYS_MS);
  if (!on) say({ learn: "" });
}

export function choose(name) {
  unmark();
  (boxes[name] ?? $(`press-${name}`))?.classList.add("chosen");
  $("learn-says").textContent = `now move a knob or press a key on your controller to assign it to ${name.replace("_", " ")}`;
  say({ learn: name });
}

export function taken(to, other) {
  $("learn-says").textContent = `that control is already ${other}; confirm to make it ${to}, or move another one`;
  $("learn-over").hidden = false;
}

function unmark() {
  document.querySelectorAll(".chosen").forEach((each) => each.classList.remove("chosen"));
}
