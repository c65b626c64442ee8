// The panel in the browser: shows the state that the server sends, and sends changes of knobs and buttons.

const $ = (id) => document.getElementById(id);
const PPQN = 480;
const GROUPS = [
  ["Answer", ["distance", "temperature", "seed", "key", "scale", "key_lock", "fill", "blend", "repetition", "humanise", "keep_downbeats", "keep_bass"]],
  ["Attributes (middle: as you played)", ["density", "register", "polyphony", "length", "syncopation", "velocity"]],
  ["Latent dimensions of the model", Array.from({ length: 32 }, (_, i) => `latent${i + 1}`)],
  ["Playing", ["swing", "gate", "transpose", "loudness", "split", "quantise"]],
];
const WORDS = { store_a: "Store A", store_b: "Store B", regenerate: "Regenerate", back: "Back", keep: "Keep", clear: "Clear",
  freeze: "Freeze", mute: "Mute", tap: "Tap tempo",
  roll: "Roll" };
const KEYS = { " ": "freeze", r: "regenerate", b: "back", k: "keep", m: "mute", a: "store_a", s: "store_b", Escape: "panic" };
const MOST_TOOK = 200;
const ATTRIBUTES = 6; // the first dimensions of a map; the model's latent dimensions follow (latent1 ...)
const TRAIL = 12;
const ECHO_MS = 1000;

const state = {};
let hello = null;
let socket = null;
let learning = false;
let held = null; // the knob being dragged
const turned = {}; // per knob, the timer since it was last turned here: echoes of its earlier values wait meanwhile
const echoes = {}; // the latest of them
const took = [];
const trail = []; // map positions of the last answers
let clock = { tick: 0, at: 0 };
let stale = true; // the rolls must be redrawn
let call = null; // the last call, shown while it is answered

// ---- connection to the server ---------------------------------------------------------------------------------------

// The token comes in the fragment of the address, which only this script sees; the server then gives a cookie for it.
async function enter() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch("/enter", { method: "POST", headers }).catch(() => null);
  if (answer && !answer.ok) {
    $("lost").textContent = await answer.text();
    $("lost").hidden = false;
    if (answer.status !== 403) setTimeout(enter, 5000);
    return;
  }
  connect();
  clips();
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.onmessage = (event) => hear(JSON.parse(event.data));
  socket.onclose = () => {
    show({ alive: false });
    setTimeout(enter, 1000);
  };
}

function say(what) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(what));
}

function hear(message) {
  if (message.hello) build(message.hello);
  if (message.lines) $("log").replaceChildren(), message.lines.forEach(log);
  if (message.state) show(message.state);
  if (message.news !== undefined) news(message.news);
}

// ---- building the page ----------------------------------------------------------------------------------------------

function build(said) {
  if (hello) return choosePresets(said.presets);
  hello = said;
  choosePresets(said.presets);
  for (const id of ["map-x", "map-y"]) $(id).onchange = () => map();
  $("uses").replaceChildren(...said.uses.map((use) => {
    const button = element("button", { type: "button", textContent: use, role: "radio" });
    button.dataset.use = use;
    button.onclick = () => say({ use });
    return button;
  }));
  $("buttons").replaceChildren(...said.buttons.filter((b) => WORDS[b.name]).map((b) => {
    const button = element("button", { type: "button", textContent: WORDS[b.name], title: b.help, id: `press-${b.name}` });
    button.dataset.press = b.name;
    if (b.stays) button.setAttribute("aria-pressed", "false");
    return button;
  }));
  const byName = Object.fromEntries(said.parameters.map((p) => [p.name, p]));
  $("knobs").replaceChildren(...GROUPS.map(([title, names]) => {
    // The latent dimensions are many and rarely used, so their group starts collapsed.
    const group = element("details", { open: !names[0].startsWith("latent"), id: `group-${names[0]}` });
    const inside = element("div", { className: "group" });
    inside.append(...names.filter((n) => byName[n]).map((n) => knob(byName[n])));
    group.append(element("summary", { textContent: title }), inside);
    return group;
  }));
  document.addEventListener("click", (event) => {
    const press = event.target.closest("[data-press]")?.dataset.press;
    if (!press) return;
    if (learning) choose(press);
    else say({ press: [press] });
  });
}

function choosePresets(presets) {
  $("preset").replaceChildren(...presets.map((p) => element("option", {
    value: p.name, textContent: p.program ? `${p.program} ${p.name}` : p.name, title: p.description,
  })));
  if (state["state/preset"]) $("preset").value = state["state/preset"][0];
}

function knob(p) {
  const box = element("div", { className: "knob", id: `knob-${p.name}`, title: p.help });
  const label = element("label", { textContent: p.name.replace("_", " "), htmlFor: `turn-${p.name}` });
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
  input.oninput = () => turn(isSwitch ? (input.checked ? p.high : p.low) : Number(input.value));
  input.onpointerdown = (event) => {
    if (learning) event.preventDefault(), choose(p.name);
    else held = p.name;
  };
  input.onpointerup = input.onpointercancel = () => { held = null, settle(p); };
  input.onkeydown = (event) => {
    if (input.type !== "range" || !["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    // With step "any" the browser's own key step is arbitrary.
    const by = p.taper === "whole" ? 1 : (p.high - p.low) / (event.shiftKey ? 200 : 50);
    const way = event.key === "ArrowLeft" || event.key === "ArrowDown" ? -1 : 1;
    event.preventDefault();
    turn(Math.min(Math.max((state[p.name]?.[0] ?? p.default) + way * by, p.low), p.high));
  };
  label.ondblclick = () => turn(p.default);
  label.onclick = (event) => { if (learning) event.preventDefault(), choose(p.name); };
  box.append(label, input, output);
  return box;
}

// Show what came for a knob once it has not been turned for a while.
function settle(p) {
  clearTimeout(turned[p.name]);
  turned[p.name] = setTimeout(() => {
    if (held === p.name) return settle(p);
    delete turned[p.name];
    if (p.name in echoes) shown(p, echoes[p.name]);
    delete echoes[p.name];
  }, ECHO_MS);
}

function shown(p, value) {
  const input = $(`turn-${p.name}`);
  if (!input) return;
  const box = $(`knob-${p.name}`);
  state[p.name] = [value];
  if (input.type === "checkbox") input.checked = value > (p.low + p.high) / 2;
  else input.value = p.choices.length ? Math.round(value) : value;
  box.querySelector("output").textContent = p.taper === "switch" ? (input.checked ? "on" : "off")
    : p.choices.length ? "" : p.taper === "whole" ? `${value > 0 && p.low < 0 ? "+" : ""}${Math.round(value)}` : value.toFixed(2);
  box.classList.toggle("turned", Math.abs(value - p.default) > 1e-3);
}

function element(tag, properties) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "role" || name === "style") found.setAttribute(name, value);
    else if (name === "htmlFor" && tag === "output") found.setAttribute("for", value);
    else found[name] = value;
  }
  return found;
}

// ---- showing the state ----------------------------------------------------------------------------------------------

function show(changes) {
  stale = true;
  for (const [name, values] of Object.entries(changes)) {
    const p = hello?.parameters.find((each) => each.name === name);
    if (p && (held === name || name in turned)) echoes[name] = values[0];
    else if (p) shown(p, values[0]);
    else state[name] = values;
  }
  if ("alive" in changes) {
    $("lost").hidden = changes.alive;
    if (!changes.alive) $("where").textContent = "offline", $("sign").textContent = "✕";
  }
  for (const name of ["freeze", "mute"]) {
    if (name in changes) $(`press-${name}`)?.setAttribute("aria-pressed", String(changes[name][0] > 0));
  }
  if (changes["state/preset"]) $("preset").value = changes["state/preset"][0];
  if (changes["state/use"]) {
    for (const button of $("uses").children) button.setAttribute("aria-checked", String(button.dataset.use === changes["state/use"][0]));
  }
  if (changes["state/tick"]) clock = { tick: changes["state/tick"][0], at: performance.now() };
  if (changes["state/dimensions"]) dimensions(changes["state/dimensions"]);
  if (changes["state/map/answer"]) moved(changes["state/map/answer"]);
  else if (Object.keys(changes).some((name) => name.startsWith("state/map/"))) map();
  if (changes["state/took"]) answered(...changes["state/took"]);
  if (changes["state/learned"]) teach(false, `learned ${changes["state/learned"][0]}`);
  if (changes["state/taken"]) {
    const [to, other] = changes["state/taken"];
    $("learn-says").textContent = `that control is already ${other}; confirm to make it ${to}, or move another one`;
    $("learn-over").hidden = false;
  }
  if (changes["state/kept"]) clips();
  if (changes["state/played"]?.length > 1 || call?.[0] !== changes["state/played"]?.[0]) call = changes["state/played"] ?? call;
  if (call) $("played-count").textContent = count(call);
  if (changes["state/answer"]) $("answer-count").textContent = count(changes["state/answer"]);
  if ("state/rolling" in changes || "state/bar" in changes || "state/tempo" in changes || "state/clock" in changes || changes.alive) transport();
}

function count(flat) {
  const notes = (flat.length - 1) / 4;
  return notes ? `${notes} note${notes === 1 ? "" : "s"}` : "nothing yet";
}

function transport() {
  const rolling = state["state/rolling"]?.[0] > 0;
  const [bar, beat] = state["state/bar"] ?? [1, 1];
  $("sign").textContent = rolling ? "▶" : "■";
  $("where").textContent = rolling ? `${bar}.${beat}` : "stopped";
  const beats = Math.max(1, Math.round(barTicks() / PPQN));
  $("beats").textContent = Array.from({ length: beats }, (_, i) => (rolling && i + 1 === beat ? "●" : "○")).join("");
  $("tempo").textContent = state["state/tempo"] ? `${state["state/tempo"][0].toFixed(1)} BPM` : "";
  const [jitter, lost, extra] = state["state/clock"] ?? [0, 0, 0];
  // All zero for the internal clock, which is then not shown.
  $("clock").textContent = jitter || lost || extra
    ? `clock ±${jitter.toFixed(1)} ms${lost ? `, ${lost} lost` : ""}${extra ? `, ${extra} extra` : ""}` : "";
}

function barTicks() {
  const [beats, unit] = (state["state/bars"]?.[1] ?? "4/4").split("/").map(Number);
  return (beats * PPQN * 4) / unit;
}

function news(line) {
  log(line);
}

function log(line) {
  $("log").prepend(element("li", { textContent: line }));
  while ($("log").children.length > 60) $("log").lastChild.remove();
}

async function clips() {
  const found = await fetch("/clips").then((r) => r.json()).catch(() => []);
  $("clips").replaceChildren(...(found.length ? found : [null]).map((name) => {
    const item = document.createElement("li");
    if (name === null) item.textContent = "Keep saves the current answer here.";
    else {
      const url = `/clips/${encodeURIComponent(name)}`;
      const link = element("a", { href: url, textContent: name.replace(".mid", ""), download: name, draggable: true });
      link.ondragstart = (e) => e.dataTransfer.setData("DownloadURL", `audio/midi:${name}:${new URL(url, location)}`);
      item.append(link);
    }
    return item;
  }));
}

// ---- learning -------------------------------------------------------------------------------------------------------

function teach(on, says = "") {
  learning = on;
  document.body.classList.toggle("learning", on);
  $("learn").setAttribute("aria-pressed", String(on));
  $("learn-over").hidden = true;
  document.querySelectorAll(".chosen").forEach((each) => each.classList.remove("chosen"));
  $("learn-says").textContent = on ? "click a knob or button on this page" : says;
  if (!on) say({ learn: "" });
}

function choose(name) {
  document.querySelectorAll(".chosen").forEach((each) => each.classList.remove("chosen"));
  ($(`knob-${name}`) ?? $(`press-${name}`))?.classList.add("chosen");
  $("learn-says").textContent = `now move a knob or press a key on your controller to assign it to ${name.replace("_", " ")}`;
  say({ learn: name });
}

// ---- pictures -------------------------------------------------------------------------------------------------------

function fit(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas.getContext("2d");
}

function notesOf(flat) {
  const notes = [];
  for (let i = 1; i + 3 < (flat?.length ?? 0); i += 4) notes.push({ on: flat[i], pitch: flat[i + 1], lasts: flat[i + 2], loud: flat[i + 3] });
  return notes;
}

function now() {
  if (!(state["state/rolling"]?.[0] > 0) || !state.alive) return null;
  const perMs = ((state["state/tempo"]?.[0] ?? 120) * PPQN) / 60000;
  return clock.tick + Math.min(performance.now() - clock.at, 500) * perMs;
}

function roll(id, name, colour, tick) {
  const canvas = $(id);
  const g = fit(canvas);
  const flat = name === "played" ? call : state["state/answer"];
  const length = flat?.[0] ?? 3840;
  const every = [...notesOf(call), ...notesOf(state["state/answer"])];
  const pitches = every.map((n) => n.pitch);
  const low = Math.min(48, ...pitches) - 1;
  const high = Math.max(72, ...pitches) + 2;
  const x = (t) => (t / length) * canvas.width;
  const row = canvas.height / (high - low);
  g.clearRect(0, 0, canvas.width, canvas.height);
  for (let t = 0; t <= length; t += PPQN) {
    g.fillStyle = t % barTicks() ? "#1c2230" : "#3a4356";
    g.fillRect(x(t), 0, 1, canvas.height);
  }
  g.fillStyle = "#1c2230";
  for (let pitch = Math.ceil(low / 12) * 12; pitch < high; pitch += 12) g.fillRect(0, canvas.height - (pitch - low) * row, canvas.width, 1);
  const coming = name === "answer" && !sounding(tick);
  for (const note of notesOf(flat)) {
    const [left, width] = [x(note.on), Math.max(x(note.lasts) - 1, 3)];
    const top = canvas.height - (note.pitch - low + 1) * row;
    const tall = Math.max(row - 1, 3);
    g.globalAlpha = 0.35 + (0.65 * note.loud) / 127;
    // Notes of a coming answer are outlines, so that they differ by more than colour.
    if (coming) g.strokeStyle = colour, g.lineWidth = 2, g.strokeRect(left + 1, top + 1, width - 2, Math.max(tall - 2, 1));
    else g.fillStyle = colour, g.fillRect(left, top, width, tall);
  }
  g.globalAlpha = 1;
  if (tick !== null && (name === "played") === listening()) {
    g.fillStyle = "#f3f5fa";
    g.fillRect(x(((tick % length) + length) % length), 0, 2, canvas.height);
  } else if (tick !== null && state["state/use"]?.[0] === "follow") {
    g.fillStyle = "#f3f5fa";
    g.fillRect(x(tick % length), 0, 2, canvas.height);
  }
}

function listening() {
  return state["state/turn"]?.[0] === "yours";
}

function sounding(tick) {
  return tick !== null && (state["state/use"]?.[0] !== "answer" || state["state/turn"]?.[0] === "answer");
}

// ---- the map --------------------------------------------------------------------------------------------------------

function dimensions(names) {
  const own = names.slice(ATTRIBUTES);
  for (let i = 0; $(`knob-latent${i + 1}`); i += 1) {
    $(`knob-latent${i + 1}`).hidden = i >= own.length;
    $(`knob-latent${i + 1}`).querySelector("label").textContent = own[i] ?? `latent${i + 1}`;
  }
  $("group-latent1").hidden = !own.length;
  for (const [id, usual] of [["map-x", 0], ["map-y", 1]]) {
    const before = $(id).value;
    $(id).replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
    $(id).value = names.includes(before) ? before : names[usual] ?? "";
  }
  trail.length = 0;
  map();
}

function moved(place) {
  if (place.length) trail.push(place);
  if (trail.length > TRAIL) trail.shift();
  map();
}

function map() {
  const canvas = $("map");
  const g = fit(canvas);
  const names = state["state/dimensions"] ?? [];
  const [x, y] = ["map-x", "map-y"].map((id) => names.indexOf($(id).value));
  const scale = window.devicePixelRatio || 1;
  const edge = 14 * scale;
  const at = (place) => [edge + place[x] * (canvas.width - 2 * edge), canvas.height - edge - place[y] * (canvas.height - 2 * edge)];
  g.clearRect(0, 0, canvas.width, canvas.height);
  g.strokeStyle = "#1c2230";
  for (let i = 0; i <= 4; i += 1) {
    const [across, up] = at(Object.assign([], { [x]: i / 4, [y]: i / 4 }));
    g.beginPath();
    g.moveTo(across, 0), g.lineTo(across, canvas.height), g.moveTo(0, up), g.lineTo(canvas.width, up);
    g.stroke();
  }
  const of = (name) => { const place = state[`state/map/${name}`]; return place?.length ? at(place) : null; };
  const [a, b] = [of("a"), of("b")];
  if (a && b) g.strokeStyle = "#5b667d", g.beginPath(), g.moveTo(...a), g.lineTo(...b), g.stroke();
  trail.slice(0, -1).forEach((place, i) => dot(g, at(place), "#f0a04c", 3 * scale, (i + 1) / (2 * TRAIL)));
  for (const [name, word, colour] of [["a", "A", "#f3f5fa"], ["b", "B", "#f3f5fa"], ["loop", "played", "#76b4f0"], ["answer", "answer", "#f0a04c"]]) {
    const point = of(name);
    if (!point) continue;
    dot(g, point, colour, 6 * scale, 1);
    g.font = `${12 * scale}px system-ui, sans-serif`;
    // Labels on different sides, as the points often overlap; words on the side with room.
    const onLeft = word.length === 1 || point[0] > canvas.width * 0.7;
    g.textAlign = onLeft ? "right" : "left";
    const down = { a: 14, b: -4, loop: -4, answer: 14 }[name];
    g.fillText(word, point[0] + (onLeft ? -9 : 9) * scale, point[1] + down * scale);
  }
  $("map-says").textContent = of("answer") ? "" : "The map appears with the first answer.";
}

function dot(g, [across, up], colour, radius, alpha) {
  g.globalAlpha = alpha;
  g.fillStyle = colour;
  g.beginPath();
  g.arc(across, up, radius, 0, 2 * Math.PI);
  g.fill();
  g.globalAlpha = 1;
}

function answered(ms, lead, what) {
  took.push({ ms, late: what !== "answer" });
  if (took.length > MOST_TOOK) took.shift();
  const sorted = took.map((t) => t.ms).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)].toFixed(1);
  const late = took.filter((t) => t.late).length;
  $("took").textContent = `p50 ${at(0.5)} ms · p99 ${at(0.99)} ms · lead ${lead.toFixed(0)} ms · ${late} late of ${took.length}`;
  const canvas = $("histogram");
  const g = fit(canvas);
  const most = Math.max(20, ...sorted);
  const bins = new Array(40).fill(0);
  took.forEach((t) => { bins[Math.min(Math.floor((t.ms / most) * 40), 39)] += 1; });
  g.clearRect(0, 0, canvas.width, canvas.height);
  const tallest = Math.max(...bins);
  bins.forEach((n, i) => {
    const tall = (n / tallest) * (canvas.height - 2);
    g.fillStyle = "#f0a04c";
    g.fillRect((i * canvas.width) / 40, canvas.height - tall, canvas.width / 40 - 1, tall);
  });
  g.fillStyle = "#f3f5fa";
  g.fillRect(Math.min(lead / most, 1) * (canvas.width - 2), 0, 2, canvas.height);
}

function frame() {
  const tick = now();
  // Draw a still picture only once, so that an open page does not load the machine that plays.
  if (!document.hidden && (stale || tick !== null)) {
    stale = false;
    roll("played", "played", "#76b4f0", tick);
    roll("answer", "answer", "#f0a04c", tick);
  }
  requestAnimationFrame(frame);
}

// ---- the rest -------------------------------------------------------------------------------------------------------

$("preset").onchange = () => say({ preset: $("preset").value });
$("learn").onclick = () => teach(!learning);
$("learn-over").onclick = () => say({ over: true });
// What was clicked would take the next Space for itself; what was reached by Tab may have it.
const SPACED = "button, summary, input[type=checkbox]";
function letGo() {
  if (document.activeElement.matches(SPACED)) document.activeElement.blur();
}
document.addEventListener("click", (event) => {
  if (!event.detail) return;
  letGo(); // at once, as Space may follow at once
  setTimeout(letGo); // a click on a label moves the focus afterwards
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key !== "Escape" && event.target.closest("select")) return;
  if (event.key === " " && event.target.closest(SPACED)) return;
  if (event.key === "l") return teach(!learning);
  if (learning && event.key === "Escape") return teach(false);
  const press = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!press) return;
  event.preventDefault();
  say({ press: [press] });
});
window.addEventListener("hashchange", () => {
  if (socket?.readyState !== WebSocket.OPEN) enter();
});
window.addEventListener("resize", () => {
  stale = true;
  map();
});
enter();
requestAnimationFrame(frame);
