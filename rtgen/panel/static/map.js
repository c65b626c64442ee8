// The map of loops: the call, its answer, A and B, by two dimensions.

import { hello, state } from "./link.js";
import { ATTRIBUTES, element, turnTo } from "./knobs.js";
import { fit } from "./rolls.js";

const $ = (id) => document.getElementById(id);
const TRAIL = 12;
const EDGE = 14;
const OFTEN_MS = 50;
const trail = []; // map positions of the last answers
let aimed = null; // where was clicked, as a share of both axes, until the answer has moved
let turnedAt = 0;

export function build() {
  for (const id of ["map-x", "map-y"]) $(id).onchange = () => { aimed = null, draw(); };
  const canvas = $("map");
  canvas.onpointerdown = (event) => {
    if (event.button > 0) return;
    canvas.setPointerCapture(event.pointerId);
    aim(event);
  };
  canvas.onpointermove = (event) => {
    if (canvas.hasPointerCapture(event.pointerId) && event.timeStamp - turnedAt > OFTEN_MS) aim(event);
  };
  canvas.onpointerup = (event) => { if (aimed) aim(event); };
}

// Turns the knobs of both axes, so that the answer moves there from the loop that was played.
function aim(event) {
  const call = state["state/map/loop"];
  if (!call?.length) return;
  turnedAt = event.timeStamp;
  const box = $("map").getBoundingClientRect();
  const share = (at, size) => Math.min(Math.max((at - EDGE) / (size - 2 * EDGE), 0), 1);
  aimed = [share(event.clientX - box.left, box.width), 1 - share(event.clientY - box.top, box.height)];
  axes().forEach((index, way) => {
    const name = knobOf(index);
    if (index >= 0) turnTo(name, Math.min(Math.max(0.5 + ((aimed[way] - call[index]) * 0.5) / hello.reach[name], 0), 1));
  });
  draw();
}

// The indices of the dimensions that are shown.
function axes() {
  const names = state["state/dimensions"] ?? [];
  return ["map-x", "map-y"].map((id) => names.indexOf($(id).value));
}

// The knob that moves a dimension: the attributes come first, then the model's own.
function knobOf(index) {
  return index < ATTRIBUTES ? state["state/dimensions"][index] : `latent${index - ATTRIBUTES + 1}`;
}

export function dimensions(names) {
  for (const [id, usual] of [["map-x", 0], ["map-y", 1]]) {
    const before = $(id).value;
    $(id).replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
    $(id).value = names.includes(before) ? before : names[usual] ?? "";
  }
  trail.length = 0;
  draw();
}

export function moved(place) {
  aimed = null;
  if (place.length) trail.push(place);
  if (trail.length > TRAIL) trail.shift();
  draw();
}

export function draw() {
  const of = (name) => { const place = state[`state/map/${name}`]; return place?.length ? place : null; };
  $("map-says").textContent = of("answer") ? "Click where the answer should go: the knobs follow." : "The map appears with the first answer.";
  const canvas = $("map");
  if (!canvas.clientWidth) return;
  const g = fit(canvas);
  const [x, y] = axes();
  const scale = window.devicePixelRatio || 1;
  const edge = EDGE * scale;
  const at = (place) => [edge + place[x] * (canvas.width - 2 * edge), canvas.height - edge - place[y] * (canvas.height - 2 * edge)];
  g.clearRect(0, 0, canvas.width, canvas.height);
  g.strokeStyle = "#1c2230";
  for (let i = 0; i <= 4; i += 1) {
    const [across, up] = at(Object.assign([], { [x]: i / 4, [y]: i / 4 }));
    g.beginPath();
    g.moveTo(across, 0), g.lineTo(across, canvas.height), g.moveTo(0, up), g.lineTo(canvas.width, up);
    g.stroke();
  }
  const [a, b] = [of("a"), of("b")];
  if (a && b) g.strokeStyle = "#5b667d", g.beginPath(), g.moveTo(...at(a)), g.lineTo(...at(b)), g.stroke();
  trail.slice(0, -1).forEach((place, i) => dot(g, at(place), "#f0a04c", 3 * scale, (i + 1) / (2 * TRAIL)));
  for (const [name, word, colour] of [["a", "A", "#f3f5fa"], ["b", "B", "#f3f5fa"], ["loop", "played", "#76b4f0"], ["answer", "answer", "#f0a04c"]]) {
    if (!of(name)) continue;
    const point = at(of(name));
    dot(g, point, colour, 6 * scale, 1);
    g.font = `${13 * scale}px system-ui, sans-serif`;
    // Labels on different sides, as the points often overlap; words on the side with room.
    const onLeft = word.length === 1 || point[0] > canvas.width * 0.7;
    g.textAlign = onLeft ? "right" : "left";
    const down = { a: 14, b: -4, loop: -4, answer: 14 }[name];
    g.fillText(word, point[0] + (onLeft ? -9 : 9) * scale, point[1] + down * scale);
  }
  if (aimed) cross(g, at(Object.assign([], { [x]: aimed[0], [y]: aimed[1] })), 8 * scale);
}

// A cross where was clicked.
function cross(g, [across, up], size) {
  g.strokeStyle = "#f3f5fa";
  g.lineWidth = size / 5;
  g.beginPath();
  g.moveTo(across - size, up), g.lineTo(across + size, up), g.moveTo(across, up - size), g.lineTo(across, up + size);
  g.stroke();
  g.lineWidth = 1;
}

function dot(g, [across, up], colour, radius, alpha) {
  g.globalAlpha = alpha;
  g.fillStyle = colour;
  g.beginPath();
  g.arc(across, up, radius, 0, 2 * Math.PI);
  g.fill();
  g.globalAlpha = 1;
}
