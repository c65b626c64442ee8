// The page: whose turn it is, the transport, tabs and shortcuts. It has a module for each of its rooms.

import { connect, distanceMs, hello, pageTime, say, state } from "./link.js";
import * as clips from "./clips.js";
import * as keys from "./keys.js";
import * as knobs from "./knobs.js";
import * as map from "./map.js";
import * as presets from "./presets.js";
import * as rolls from "./rolls.js";
import * as sound from "./sound.js";

const $ = (id) => document.getElementById(id);
const { element } = knobs;
const PPQN = 480;
// The transport: name, word, shortcut.
const TRANSPORT = [["freeze", "Freeze", " "], ["regenerate", "Again", "r"], ["back", "Back", "b"], ["keep", "Keep", "k"], ["mute", "Mute", "m"], ["overdub", "Overdub", "o"], ["undo", "Undo", "u"], ["store_a", "Store A", "a"], ["store_b", "Store B", "s"]];
const MORE = { forward: "Forward", keep_all: "Keep all", clear: "Clear", close: "Close loop", half: "Half tempo", double: "Double tempo", tap: "Tap tempo", roll: "Roll", answer_clip: "Answer clip", vary_clip: "Vary clip" };
const KEYS = Object.fromEntries(TRANSPORT.map(([name, , key]) => [key, name]));
const MOST_TOOK = 200;
const MOST_LINES = 60;
const TOAST_MS = 6000;
const STALE_MS = 500; // how long the position is trusted without news
const OFF_MS = 15; // how far playhead and banner may be off
const PASSING = new Set(["state/tick", "state/bar", "state/tempo", "state/clock"]); // what does not change the rolls
const NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"];
const SPACED = "button, summary, input[type=checkbox]";

const took = [];
let clock = { tick: 0, at: 0 }; // from the state
let beat = null; // {at, tick}: exact, where the page sounds
let stale = true; // the rolls must be redrawn
let framed = 0; // the frame in which they are
let moving = []; // the animations of playhead and banner
let path = ""; // for which time and way they were made
let wide = 0; // the width of the rolls
let call = null; // the last call, shown while it is answered
let moved = null; // what the hand moved in it
let answers = null; // the call that the answer is one to
let fading = null;
let paced = null; // the tempo that was chosen here
let before = "play"; // the tab from which the presets were opened
let lines = []; // the log, newest first: each with how often it was said

// ---- what the server says -------------------------------------------------------------------------------------------

function hear(message) {
  if (message.hello) build(message.hello);
  if (message.lines) lines = [], message.lines.forEach(log);
  if (message.state) show(message.state);
  if (message.news !== undefined) log(message.news), toast(message.news);
  if (message.sound) message.sound.forEach(heard);
}

function heard(said) {
  if (said.out) sound.due("answer", ...said.out);
  else if (said.played) sound.due("played", ...said.played);
  else if (said.beat) {
    beat = { at: said.beat[0], tick: said.beat[1] };
    sound.beat(...said.beat, barTicks());
    move();
  } else if (said.back !== undefined) sound.takeBack(said.back);
  else if (said.stop !== undefined) beat = null, move();
  else if (said.cut !== undefined) sound.cut();
}

function lost() {
  sound.cut();
  beat = null;
  show({ alive: false });
}

function refused(why) {
  $("lost").textContent = why;
  $("lost").hidden = false;
}

// ---- building the page ----------------------------------------------------------------------------------------------

function build(said) {
  presets.build((name) => {
    if (name !== state["state/preset"]?.[0]) toast(`loading ${name} ...`);
    tab(before);
  });
  if (document.body.dataset.built) {
    if (sound.begun()) say({ sounds: true });
    return;
  }
  document.body.dataset.built = "yes";
  document.body.classList.toggle("plays", Boolean(said.plays));
  $("uses").replaceChildren(...said.uses.map((use) => {
    const button = element("button", { type: "button", textContent: use, role: "radio" });
    button.dataset.use = use;
    button.onclick = () => say({ use });
    return button;
  }));
  const byName = Object.fromEntries(said.buttons.map((b) => [b.name, b]));
  const press = (name, word) => {
    const button = element("button", { type: "button", title: byName[name].help, id: `press-${name}` });
    button.append(element("span", { textContent: word }), element("kbd", {}), element("small", { className: "badge" }));
    button.dataset.press = name;
    if (byName[name].stays) button.setAttribute("aria-pressed", "false");
    return button;
  };
  $("buttons").replaceChildren(...TRANSPORT.map(([name, word]) => press(name, word)));
  $("more-buttons").replaceChildren(...Object.entries(MORE).filter(([name]) => byName[name]).map(([name, word]) => press(name, word)));
  knobs.build(said.parameters);
  map.build();
  if (said.plays) keys.build(), $("start").hidden = false, $("start").focus();
  caps();
}

// Writes the shortcuts on the buttons.
function caps() {
  for (const [name, , key] of TRANSPORT) {
    $(`press-${name}`).querySelector("kbd").textContent = key === " " ? "Space" : `${keys.typed() ? "⇧" : ""}${key.toUpperCase()}`;
  }
}

// ---- showing the state ----------------------------------------------------------------------------------------------

function show(changes) {
  stale ||= Object.keys(changes).some((name) => !PASSING.has(name));
  for (const [name, values] of Object.entries(changes)) {
    if (!knobs.told(name, values[0])) state[name] = values;
  }
  if ("alive" in changes) $("lost").hidden = changes.alive;
  for (const name of ["freeze", "mute", "overdub"]) {
    if (name in changes) $(`press-${name}`)?.setAttribute("aria-pressed", String(changes[name][0] > 0));
  }
  if (changes["state/preset"]) {
    presets.show();
    if (paced !== null) say({ tempo: paced }); // the preset has a tempo of its own, but the player has chosen
  }
  if (changes["state/use"] || changes["state/mode"]) uses();
  if (changes["state/drums"] || changes["state/channel"]) keys.setDrums(playsDrums()), sound.setDrums(playsDrums());
  if (changes["state/mode"] || changes["state/drums"]) knobs.macros(state["state/mode"]?.[0], playsDrums());
  if (changes["state/mode"]) $("legend").hidden = !compares(), $("plan").hidden = state["state/mode"][0] !== "accompany";
  if (changes["state/tick"]) clock = { tick: changes["state/tick"][0], at: performance.now() };
  if (changes["state/bound"]) knobs.bound(changes["state/bound"]);
  for (const end of ["a", "b"]) {
    if (changes[`state/stored/${end}`]) knobs.stored(end, changes[`state/stored/${end}`]);
  }
  if (changes["state/dimensions"]) knobs.dimensions(changes["state/dimensions"]), map.dimensions(changes["state/dimensions"]);
  if (changes["state/map/answer"]) map.moved(changes["state/map/answer"]);
  else if (Object.keys(changes).some((name) => name.startsWith("state/map/"))) map.draw();
  if (changes["state/took"]) answered(...changes["state/took"]);
  if (changes["state/learned"]) knobs.teach(false, `learned ${changes["state/learned"][0]}`);
  if (changes["state/taken"]) knobs.taken(...changes["state/taken"]);
  if (changes["state/kept"]) clips.list();
  // The loop that the answer is one to; a new one has fewer notes, and may have begun by now.
  if (changes["state/answer"]) answers = (changes["state/played"]?.length ?? 0) > (call?.length ?? 0) ? changes["state/played"] : call;
  if (changes["state/played"]?.length > 1 || call?.[0] !== changes["state/played"]?.[0]) call = changes["state/played"] ?? call;
  // What moved goes with the call that it was played in.
  if (changes["state/moved/played"]?.length || call === state["state/played"]) moved = state["state/moved/played"];
  if (call) $("played-count").textContent = count(call);
  if (changes["state/answer"] || changes["state/layers"]) {
    const layers = state["state/layers"]?.[0] ?? 0;
    $("answer-count").textContent = count(state["state/answer"] ?? [0]) + (layers ? `, ${layers} layer${layers === 1 ? "" : "s"}` : "");
  }
  banner();
  wake();
}

// Shows which use plays, and greys those that the preset cannot be used in.
function uses() {
  const along = state["state/mode"]?.[0] === "accompany";
  for (const button of $("uses").children) {
    const fits = along === (button.dataset.use === "along");
    button.setAttribute("aria-checked", String(button.dataset.use === state["state/use"]?.[0]));
    button.classList.toggle("rests", !fits);
    button.title = fits ? "" : along ? "this preset plays along" : "for presets that play along, such as band";
  }
}

function playsDrums() {
  return state["state/drums"]?.[0] > 0 || state["state/channel"]?.[0] === 10;
}

// Whether an answer is a version of what was played, so that its notes can be told from those.
function compares() {
  return ["vary", "clean"].includes(state["state/mode"]?.[0]);
}

function count(flat) {
  const notes = (flat.length - 1) / 4;
  return notes ? `${notes} note${notes === 1 ? "" : "s"}` : "nothing yet";
}

function rolling() {
  return state.alive && state["state/rolling"]?.[0] > 0;
}

function barTicks() {
  const [beats, unit] = (state["state/bars"]?.[1] ?? "4/4").split("/").map(Number);
  return (beats * PPQN * 4) / unit;
}

// Whether the player's first loop says the tempo.
function player() {
  return state["state/source"]?.[0] === "player";
}

// Whose turn it is: how the banner looks, what it says, and what to do.
function turn() {
  const [notes, answered] = ["played", "answer"].map((name) => (state[`state/${name}`]?.length ?? 0) > 1);
  if (!state.alive) return ["off", "OFFLINE", hello?.plays ? "start it again with rtgen play" : "start rtgen, and this page connects by itself"];
  if (!rolling()) {
    if (player() && (sound.begun() || !hello?.plays)) {
      if (state["state/turn"]?.[0] === "yours") return ["yours", "FIRST LOOP", "press Close loop, or Enter, on the downbeat after it"];
      return ["off", "NO TEMPO", "play your first loop"];
    }
    if (hello?.plays) return ["off", "STOPPED", sound.begun() ? "press Play" : "press Start"];
    if (state["state/source"]?.[0] === "internal") return ["off", "STOPPED", "it rolls with a MIDI Start"];
    if (state["state/source"]?.[0] === "link") return ["off", "NO CLOCK", "press Play in a program of the Link session"];
    if (state["state/unstarted"]?.[0] > 0) return ["off", "NO START", "stop your sequencer and press Play, or press Roll on a downbeat"];
    return ["off", "NO CLOCK", "press Play in your sequencer, or try rtgen play"];
  }
  const [use, whose, muted] = [state["state/use"]?.[0], state["state/turn"]?.[0], state.mute?.[0] > 0 && "muted"];
  if (state.overdub?.[0] > 0) return ["yours", "OVERDUB", muted || `what you play goes round too${layered()}`];
  if (use === "hold" && whose !== "yours") return ["hold", "FROZEN", muted || "Space lets go"];
  if (use === "along") return ["follow", "WITH YOU", muted || (!notes ? "play, and it plays along" : answered ? "it plays along with you" : "go on: it comes in at the next bar line")];
  if (use === "follow") return ["follow", "WITH YOU", muted || (notes ? "it follows your last loop" : "play, and it follows")];
  if (whose === "answer") return ["answer", "ANSWERING", muted || "listen"];
  const bars = state["state/bars"]?.[0] ?? 2;
  if (notes) return ["yours", "LISTENING", "it answers when the loop is full"];
  // Whoever begins late in a loop is answered after a few notes.
  const [bar, beatNow] = state["state/bar"] ?? [1, 1];
  const gone = (((bar - 1) % bars) * barTicks()) / PPQN + beatNow - 1;
  const late = 2 * gone * PPQN >= bars * barTicks();
  const from = late ? `, from bar ${bar - ((bar - 1) % bars) + bars} on` : "";
  return ["yours", "YOUR TURN", `play ${bars} bar${bars === 1 ? "" : "s"}${from}`];
}

// What goes round already.
function layered() {
  const layers = state["state/layers"]?.[0] ?? 0;
  return layers ? `, with ${layers} layer${layers === 1 ? "" : "s"}` : "";
}

// What to do first, as the button to start with says it.
function invitation() {
  const where = "on the letters of your keyboard, the keys below, or a MIDI keyboard";
  const [bars, use] = [state["state/bars"]?.[0] ?? 2, state["state/use"]?.[0]];
  const many = NUMBERS[bars];
  const loop = `Play ${many} bar${bars === 1 ? "" : "s"} ${where}`;
  const what = player() ? `Play a loop ${where}, and press Enter on the downbeat after it.`
    : use === "along" ? `Play ${where}: it plays along with you.`
      : use === "follow" ? `${loop}, and go on: the answer plays under you.`
        : use === "hold" ? `${loop}; then its answer goes round.` : `${loop}; then listen for ${many}.`;
  return `Sound begins here. ${what}`;
}

function set(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function banner() {
  const [look, word, hint] = turn();
  const [bar, beatNow] = state["state/bar"] ?? [1, 1];
  if ($("banner").dataset.turn !== look) $("banner").dataset.turn = look;
  $("banner").classList.toggle("rests", !rolling());
  set("turn", word);
  set("hint", hint);
  if (!$("start").hidden) set("invitation", invitation());
  set("sign", !state.alive ? "✕" : rolling() ? "▶" : "■");
  set("where", !state.alive ? "offline" : rolling() ? `${bar}.${beatNow}` : "stopped");
  const beats = Math.max(1, Math.round(barTicks() / PPQN));
  set("beats", Array.from({ length: beats }, (_, i) => (rolling() && i + 1 === beatNow ? "●" : "○")).join(""));
  const tempo = state["state/tempo"]?.[0];
  const link = state["state/source"]?.[0] === "link" ? ", by Link" : state["state/link"]?.[0] === "leads" ? ", leads Link" : "";
  set("tempo", tempo && (rolling() || !player()) ? `${tempo.toFixed(hello?.plays ? 0 : 1)} BPM${link}` : "");
  if (tempo && document.activeElement !== $("bpm") && $("bpm").value !== `${Math.round(tempo)}`) $("bpm").value = Math.round(tempo);
  const named = (name) => hello?.parameters.find((p) => p.name === name)?.choices[state[name]?.[0]] ?? "auto";
  // The key that was chosen; else the one that was heard.
  const chosen = named("scale") === "auto" ? named("key") : `${named("key")} ${named("scale").replaceAll("_", " ")}`;
  set("tonality", named("key") === "auto" ? state["state/key"]?.[0] ?? "" : chosen);
  set("song", rolling() ? "■ Stop" : "▶ Play");
  document.body.classList.toggle("player", player());
  $("opening").hidden = !player();
  for (const button of $("opening").children) button.hidden = button.dataset.press !== "close" && !rolling();
  set("close", rolling() ? "■ Stop" : "Close loop");
  const [jitter, missing, extra] = state["state/clock"] ?? [0, 0, 0];
  // All zero for the internal clock, which is then not shown.
  set("clock", jitter || missing || extra
    ? `clock ±${jitter.toFixed(1)} ms${missing ? `, ${missing} lost` : ""}${extra ? `, ${extra} extra` : ""}` : "");
  const far = distanceMs();
  set("way", far === null ? "" : `A note takes ${far.toFixed(1)} ms from this page to rtgen, and ${Math.round(1000 * sound.latency())} ms from the page to your ears.`);
}

// ---- messages -------------------------------------------------------------------------------------------------------

// Adds a line to the log; what is said again and again is counted, and a loop without notes is no news.
function log(line) {
  if (/^heard .*: silence$/.test(line)) return;
  if (lines[0]?.line === line) lines[0].times += 1;
  else lines = [{ line, times: 1 }, ...lines.slice(0, MOST_LINES - 1)];
  $("log").replaceChildren(...lines.map((each) => element("li", { textContent: each.line + (each.times > 1 ? ` (${each.times} times)` : "") })));
}

// The latest message, for a moment, where the eye is.
function toast(line) {
  if (/^(heard|answering in|rolling|stopped)/.test(line)) return; // the banner says so
  set("toast", line.replace(/^(kept as ).*[/\\]/, "$1")); // a path says little here
  clearTimeout(fading);
  fading = setTimeout(() => set("toast", ""), TOAST_MS);
}

function answered(ms, lead, what) {
  took.push({ ms, late: what !== "answer" });
  if (took.length > MOST_TOOK) took.shift();
  const sorted = took.map((t) => t.ms).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)].toFixed(0);
  const late = took.filter((t) => t.late).length;
  set("took", `An answer usually takes ${at(0.5)} ms, the slowest of a hundred ${at(0.99)} ms. It is asked for ${lead.toFixed(0)} ms before its turn: what you play after that belongs to the next loop. ${late || "None"} of ${took.length} came late.`);
  histogram();
}

function histogram() {
  const canvas = $("histogram");
  canvas.hidden = !took.length;
  if (!canvas.clientWidth || !took.length) return;
  const g = rolls.fit(canvas);
  const most = Math.max(20, ...took.map((t) => t.ms));
  const bins = new Array(40).fill(0);
  took.forEach((t) => { bins[Math.min(Math.floor((t.ms / most) * 40), 39)] += 1; });
  g.clearRect(0, 0, canvas.width, canvas.height);
  const tallest = Math.max(...bins);
  bins.forEach((n, i) => {
    const tall = (n / tallest) * (canvas.height - 2);
    g.fillStyle = "#f0a04c";
    g.fillRect((i * canvas.width) / 40, canvas.height - tall, canvas.width / 40 - 1, tall);
  });
}

// ---- what moves -----------------------------------------------------------------------------------------------------

// The tick that is heard now; null unless the song rolls.
function now() {
  if (!rolling()) return null;
  const perMs = ((state["state/tempo"]?.[0] ?? 120) * PPQN) / 60000;
  if (beat !== null) return beat.tick + (performance.now() - 1000 * (pageTime(beat.at) + sound.latency())) * perMs;
  return clock.tick + Math.min(performance.now() - clock.at, STALE_MS) * perMs;
}

// Playhead and banner move by themselves from here on, without a script for each frame: an open page must not load the
// machine that plays. Where they have come off their place they are put there.
function move() {
  const tick = now();
  $("head").hidden = tick === null;
  if (tick === null) return stand();
  const length = call?.[0] ?? state["state/answer"]?.[0] ?? 3840;
  // An external clock's tempo is never quite the same.
  const tempo = Math.round(10 * (state["state/tempo"]?.[0] ?? 120)) / 10;
  const lasts = (length * 60000) / (PPQN * tempo);
  const [from, to] = [0, 1].map((share) => rolls.place(wide, share));
  if (path !== `${lasts} ${from} ${to}`) {
    stand();
    path = `${lasts} ${from} ${to}`;
    const how = { duration: lasts, iterations: Infinity };
    moving = [
      $("head").animate({ transform: [`translateX(${from}px)`, `translateX(${to}px)`] }, how),
      $("fill").animate({ transform: ["scaleX(0)", "scaleX(1)"] }, how),
    ];
  }
  // The time of animations stands still between frames.
  const late = performance.now() - document.timeline.currentTime;
  const at = ((((tick % length) + length) % length) / length) * lasts - late;
  for (const each of moving) {
    const off = Math.abs(((each.currentTime ?? 0) % lasts) - at);
    if (Math.min(off, lasts - off) > OFF_MS) each.currentTime = Math.max(at, 0);
  }
}

function stand() {
  for (const each of moving) each.cancel();
  [moving, path] = [[], ""];
}

// Has the rolls drawn with the next frame, if there is something new on them.
function wake() {
  move();
  if (stale && !framed && !document.hidden) framed = requestAnimationFrame(frame);
}

function frame() {
  [framed, stale] = [0, false];
  const sounds = !rolling() || state["state/layers"]?.[0] > 0 || state["state/use"]?.[0] !== "answer" || state["state/turn"]?.[0] === "answer";
  const bent = { moved, answered: state["state/moved/answer"] };
  const picture = { call, ...bent, answer: state["state/answer"], channels: state["state/channels/answer"], barTicks: barTicks(), drums: playsDrums(), sounds };
  const plan = state["state/use"]?.[0] === "along" && rolling() ? { plan: state["state/plan"], expected: state["state/expected"], hoped: state["state/channels/expected"] } : {};
  rolls.draw($("roll"), { ...picture, ...plan, answers: compares() ? answers : null });
}

// ---- tabs, buttons and shortcuts ------------------------------------------------------------------------------------

function tab(name) {
  document.body.dataset.tab = name;
  for (const button of $("tabs").children) button.setAttribute("aria-selected", String(button.dataset.tab === name));
  $("preset").setAttribute("aria-expanded", String(name === "presets"));
  stale = true;
  map.draw();
  histogram();
  keys.draw();
  wake();
}

async function begin() {
  await sound.begin(keys.show);
  $("start").hidden = true;
  if (!sound.sounds()) toast("The browser does not sound: look for its audio device, then reload this page");
  say({ sounds: true });
  const empty = (state["state/played"]?.length ?? 0) <= 1 && (state["state/answer"]?.length ?? 0) <= 1;
  // Whoever plays first gets the first beat.
  if (rolling() && empty) say({ song: "stop" });
  if (!player() && (!rolling() || empty)) say({ song: "start" });
  caps();
  banner();
  keys.draw();
}

function press(name) {
  if (name === "panic") sound.cut(), keys.letGo();
  say({ press: [name] });
}

function letGo() {
  if (document.activeElement?.matches(SPACED)) document.activeElement.blur();
}

document.addEventListener("click", (event) => {
  const name = event.target.closest("[data-press]")?.dataset.press;
  if (name && knobs.learning) knobs.choose(name);
  else if (name) press(name);
  if (!event.detail) return;
  // What was clicked would take the next Space for itself; what was reached by Tab may have it.
  letGo(); // at once, as Space may follow at once
  setTimeout(letGo); // a click on a label moves the focus afterwards
});
window.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    // It always works, wherever the focus is.
    if (!event.repeat) press("panic");
    if (knobs.learning) knobs.teach(false);
    return;
  }
  if (keys.keyDown(event)) return event.preventDefault();
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.("select, input[type=number]") || !$("start").hidden) return;
  if (event.key === " " && event.target.closest?.(SPACED)) return;
  if (keys.typed() && ![" ", "Enter"].includes(event.key) && !event.shiftKey) return;
  const key = event.key.toLowerCase();
  if (key === "enter" && player() && !event.target.closest?.(SPACED)) return event.preventDefault(), press("close");
  if (key === "l") return knobs.teach(!knobs.learning);
  if (!(key in KEYS)) return;
  event.preventDefault();
  press(KEYS[key]);
}, true);

$("start").onclick = begin;
$("preset").onclick = () => {
  const open = document.body.dataset.tab === "presets";
  if (!open) before = document.body.dataset.tab === "knobs" ? "knobs" : "play";
  tab(open ? before : "presets");
};
for (const button of $("tabs").children) button.onclick = () => tab(button.dataset.tab);
$("more").onclick = () => tab("knobs");
$("song").onclick = async () => {
  if (!sound.begun()) await begin();
  else say({ song: rolling() ? "stop" : "start" });
};
$("bpm").onchange = () => {
  const tempo = Number($("bpm").value);
  if (tempo >= 20 && tempo <= 400) say({ tempo }), paced = tempo;
  $("bpm").blur();
};
$("bpm").onkeydown = (event) => {
  if (event.key === "Enter") $("bpm").blur();
};
function remember(name, value) {
  try { localStorage.setItem(name, value); } catch { /* the browser keeps nothing */ }
}
function remembered(name, usual) {
  try { return localStorage.getItem(name) ?? usual; } catch { return usual; }
}
$("volume").oninput = () => {
  sound.setVolume(Number($("volume").value));
  remember("volume", $("volume").value);
};
function metronome(on) {
  sound.setMetronome(on);
  $("metronome").setAttribute("aria-pressed", String(on));
  remember("metronome", on ? "on" : "off");
}
$("metronome").onclick = () => metronome(!sound.metronome());
$("typing").onclick = () => {
  const on = $("typing").getAttribute("aria-pressed") !== "true";
  $("typing").setAttribute("aria-pressed", String(on));
  keys.setTyping(on);
  caps();
};
$("volume").value = remembered("volume", "0.85");
sound.setVolume(Number($("volume").value));
metronome(remembered("metronome", "on") !== "off");
document.addEventListener("visibilitychange", wake);
new ResizeObserver(() => {
  wide = $("roll").clientWidth;
  stale = true;
  map.draw();
  wake();
}).observe($("roll"));
clips.list();
connect(hear, refused, lost);
