// How the page is played: computer keys, a keyboard on the screen, and MIDI keyboards where the browser knows them.

import { hello, say, serverTime } from "./link.js";
import * as sound from "./sound.js";

const $ = (id) => document.getElementById(id);
// By their place on the keyboard, whatever is printed on them: two rows, each with its black keys above.
const LOWER = ["KeyZ", "KeyS", "KeyX", "KeyD", "KeyC", "KeyV", "KeyG", "KeyB", "KeyH", "KeyN", "KeyJ", "KeyM", "Comma", "KeyL", "Period", "Semicolon", "Slash"];
const UPPER = ["KeyQ", "Digit2", "KeyW", "Digit3", "KeyE", "KeyR", "Digit5", "KeyT", "Digit6", "KeyY", "Digit7", "KeyU", "KeyI", "Digit9", "KeyO", "Digit0", "KeyP", "BracketLeft", "Equal", "BracketRight"];
const PITCH = Object.fromEntries([...LOWER.map((code, i) => [code, i]), ...UPPER.map((code, i) => [code, 12 + i])]);
const CAPS = { Comma: ",", Period: ".", Semicolon: ";", Slash: "/", BracketLeft: "[", BracketRight: "]", Equal: "=" };
const OCTAVES = { ArrowDown: -12, ArrowUp: 12 };
const BLACK = new Set([1, 3, 6, 8, 10]);
const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const [LOW, HIGH] = [12, 96];
const USUAL = 84; // the velocity of a computer key
const DRUMS = 9;

let base = 48; // pitch of the first key
let typing = true; // whether letters are keys
let drums = false; // whether what is played is heard as drums
let printed = null; // what is printed on the keys, where the browser tells
const down = new Map(); // what is held: by its key or finger, the pitch
const marks = new Map(); // timers that show the answer's notes

export function typed() {
  return typing && Boolean(hello?.plays) && sound.begun();
}

export function setTyping(on) {
  typing = on;
  letGo();
  label();
}

export function setDrums(on) {
  if (drums === on) return;
  drums = on;
  letGo();
  base = on ? 36 : 48;
  draw();
}

export function shift(by) {
  const next = Math.min(Math.max(base + by, LOW), HIGH);
  if (next === base) return;
  letGo();
  base = next;
  draw();
}

// ---- what is played -------------------------------------------------------------------------------------------------

// The player hears the page late by its latency, and the hand follows the ear about half of the way.
function played(event) {
  return serverTime(event?.timeStamp || performance.now()) - sound.latency() / 2;
}

function press(who, pitch, velocity, event) {
  if (pitch < 0 || pitch > 127 || down.get(who) === pitch) return;
  release(who, event);
  const shared = [...down.values()].includes(pitch);
  down.set(who, pitch);
  if (shared) return; // two fingers on one key
  sound.press(drums ? DRUMS : 0, pitch, velocity);
  say({ play: [played(event), 0x90, pitch, velocity] });
  mark(pitch, "down", true);
}

function release(who, event) {
  const pitch = down.get(who);
  if (pitch === undefined) return;
  down.delete(who);
  if ([...down.values()].includes(pitch)) return;
  sound.release(drums ? DRUMS : 0, pitch);
  say({ play: [played(event), 0x80, pitch, 0] });
  mark(pitch, "down", false);
}

// Lets go of everything, as when the page is hidden: nothing would tell of keys that are released meanwhile.
export function letGo() {
  for (const who of [...down.keys()]) release(who, null);
  sound.sustain(false);
  say({ let_go: true });
}

// ---- computer keys --------------------------------------------------------------------------------------------------

// Returns whether a key that went down was a note or an octave.
export function keyDown(event) {
  if (!typed() || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return false;
  if (event.target.closest?.("select, input[type=number], input[type=text]")) return false;
  if (event.code in PITCH) {
    if (!event.repeat) press(event.code, base + PITCH[event.code], USUAL, event);
    return true;
  }
  if (event.code in OCTAVES && !event.target.closest?.("input, summary")) {
    if (!event.repeat) shift(OCTAVES[event.code]);
    return true;
  }
  return false;
}

export function keyUp(event) {
  release(event.code, event);
}

// ---- the keyboard on the screen -------------------------------------------------------------------------------------

// Draws as many keys as there is room for.
export function draw() {
  const board = $("keys");
  if (!board.clientWidth) return;
  const whites = Math.max(8, Math.min(21, Math.floor(board.clientWidth / 42)));
  const keys = [];
  let count = 0;
  for (let pitch = base; count < whites && pitch < 128; pitch += 1) {
    const black = BLACK.has(pitch % 12);
    const key = document.createElement("div");
    key.className = black ? "black" : "white";
    key.dataset.pitch = pitch;
    key.style.left = `${((black ? count - 0.3 : count) * 100) / whites}%`;
    key.style.width = `${(black ? 60 : 100) / whites}%`;
    if (!black) count += 1;
    keys.push(key);
  }
  board.replaceChildren(...keys);
  $("octave").textContent = `${NAMES[base % 12]}${Math.floor(base / 12) - 1}`;
  for (const pitch of down.values()) mark(pitch, "down", true);
  label();
}

function label() {
  const caps = {};
  for (const [code, at] of Object.entries(PITCH)) caps[base + at] = printed?.get(code)?.toUpperCase() ?? CAPS[code] ?? code.replace(/Key|Digit/, "");
  for (const key of $("keys").children) {
    const pitch = Number(key.dataset.pitch);
    const cap = typing ? caps[pitch] ?? "" : "";
    const name = pitch % 12 ? "" : `C${pitch / 12 - 1}`;
    key.replaceChildren(...[["cap", cap], ["name", name]].filter(([, text]) => text).map(([className, textContent]) => Object.assign(document.createElement("span"), { className, textContent })));
  }
}

function mark(pitch, how, on) {
  $("keys").querySelector(`[data-pitch="${pitch}"]`)?.classList.toggle(how, on);
}

// Shows a note of the answer on the keyboard, in so many seconds.
export function show(pitch, seconds, on) {
  const name = `${pitch} ${on}`;
  clearTimeout(marks.get(name));
  marks.set(name, setTimeout(() => mark(pitch, "answers", on), Math.max(seconds, 0) * 1000));
}

function under(event) {
  const key = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-pitch]");
  if (!key) return null;
  const box = key.getBoundingClientRect();
  // The lower on the key, the louder, as on a real one.
  const share = Math.min(Math.max((event.clientY - box.top) / box.height, 0), 1);
  return [Number(key.dataset.pitch), Math.round(50 + 65 * share)];
}

function touch(event) {
  const found = under(event);
  const who = `pointer ${event.pointerId}`;
  if (!found) return release(who, event);
  if (down.get(who) !== found[0]) press(who, ...found, event);
}

export function build() {
  const board = $("keys");
  board.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    event.preventDefault();
    board.releasePointerCapture?.(event.pointerId);
    touch(event);
  });
  window.addEventListener("pointermove", (event) => {
    if (down.has(`pointer ${event.pointerId}`)) touch(event);
  });
  for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, (event) => release(`pointer ${event.pointerId}`, event));
  board.addEventListener("contextmenu", (event) => event.preventDefault());
  window.addEventListener("keyup", keyUp);
  window.addEventListener("blur", letGo);
  window.addEventListener("pagehide", letGo);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) letGo();
  });
  $("octave-down").onclick = () => shift(-12);
  $("octave-up").onclick = () => shift(12);
  new ResizeObserver(draw).observe(board);
  navigator.keyboard?.getLayoutMap?.().then((found) => { printed = found, label(); }).catch(() => {});
  midi();
}

// ---- MIDI keyboards -------------------------------------------------------------------------------------------------

async function midi() {
  if (!navigator.requestMIDIAccess) return;
  const allowed = await navigator.permissions?.query({ name: "midi" }).catch(() => null);
  if (allowed?.state === "granted") return plug();
  $("midi").hidden = false;
  $("midi").onclick = plug;
}

async function plug() {
  const access = await navigator.requestMIDIAccess().catch(() => null);
  if (!access) {
    $("midi").textContent = "MIDI is not allowed";
    return;
  }
  const listen = () => {
    for (const input of access.inputs.values()) input.onmidimessage = (event) => received(input.id, event);
    const names = [...access.inputs.values()].filter((i) => i.state === "connected").map((i) => i.name);
    $("midi").hidden = false;
    $("midi").textContent = names.length ? `MIDI: ${names.join(", ")}` : "No MIDI keyboard";
  };
  access.onstatechange = (event) => {
    if (event.port.state === "disconnected") letGo();
    listen();
  };
  listen();
}

function received(input, event) {
  const [status, first, second] = event.data;
  const kind = status & 0xf0;
  const who = `${input} ${status & 0x0f} ${first}`;
  if (kind === 0x90 && second > 0) press(who, first, second, event);
  else if (kind === 0x80 || kind === 0x90) release(who, event);
  else if (kind === 0xb0) {
    if (first === 64) sound.sustain(second >= 64);
    say({ play: [played(event), status, first, second] });
  }
}
