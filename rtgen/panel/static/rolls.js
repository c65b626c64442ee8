// The two rolls: what was played above, the answer below, with one keyboard, one time axis and one playhead.

const PPQN = 480;
const STRIP = 46; // width of the keyboard
const BLACK = new Set([1, 3, 6, 8, 10]);
const COLOURS = { ground: "#0f1219", dark: "#151a24", line: "#222938", bar: "#4a556c", played: "#76b4f0", fresh: "#f0a04c", gone: "#8f9bb3", text: "#a9b4c8" };
const DRUMS = 10;
const BEAT = 36; // height of the strip for drums
const BELOW = 24; // where chords are written, so that the heading does not hide them
const NEAR = 60; // ticks by which a note that was kept may have moved
const DRUM_NAMES = { 35: "kick", 36: "kick", 37: "rim", 38: "snare", 39: "clap", 40: "snare", 41: "tom", 42: "hat", 43: "tom", 44: "pedal", 45: "tom", 46: "open", 47: "tom", 48: "tom", 49: "crash", 50: "tom", 51: "ride", 53: "bell", 55: "splash", 57: "crash", 59: "ride" };

export function notesOf(flat) {
  const notes = [];
  for (let i = 1; i + 3 < (flat?.length ?? 0); i += 4) notes.push({ on: flat[i], pitch: flat[i + 1], lasts: flat[i + 2], loud: flat[i + 3] });
  return notes;
}

// Which notes of the answer were played, and which of those that were played it leaves out.
export function compared(call, answer) {
  const left = [...call];
  const kept = new Set();
  for (const note of answer) {
    const same = left.findIndex((n) => n.pitch === note.pitch && Math.abs(n.on - note.on) <= NEAR);
    if (same < 0) continue;
    kept.add(note);
    left.splice(same, 1);
  }
  return { kept, gone: left };
}

export function fit(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas.getContext("2d");
}

// Where the playhead is on rolls of some width, after a share of the loop.
export function place(width, share) {
  return STRIP + share * (width - STRIP);
}

// Draws both rolls.
//   picture: call and answer as the server sends them; barTicks; drums: whether drums play; sounds: whether the answer
//   sounds by now; answers: the loop that the answer is a version of, if it is one; moved and answered: what bends and
//   presses the notes of both; plan: where the planned chords begin, how many half
//   beats of them are committed, and their names; expected: notes that may still change; channels and hoped: the MIDI
//   channels of the notes of answer and expected, where there are several.
export function draw(canvas, picture) {
  const g = fit(canvas);
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.fillStyle = COLOURS.ground;
  g.fillRect(0, 0, width, height);
  const length = picture.answer?.[0] ?? picture.call?.[0] ?? 3840;
  const [call, answer] = [notesOf(picture.call), notesOf(picture.answer)];
  const planned = notesOf(picture.expected);
  const expected = planned.filter((n) => n.on < length);
  // A beat beside other parts has a strip of its own, as its pitches are none.
  const [beat, hoped] = [struck(answer, picture.channels), struck(planned, picture.hoped).filter((n) => n.on < length)];
  const drummed = new Set([...beat, ...hoped]);
  const strip = drummed.size ? BEAT : 0;
  const range = pitches([...call, ...answer, ...expected].filter((n) => !drummed.has(n)), picture.drums);
  const tall = (height - 4) / 2;
  const { kept, gone } = picture.answers && answer.length ? compared(notesOf(picture.answers), answer) : { kept: new Set(), gone: [] };
  lane(g, 0, tall, width, length, range, picture);
  lane(g, tall + 4, tall - strip, width, length, range, picture);
  moves(g, picture.moved, 0, tall, width, length, COLOURS.played);
  moves(g, picture.answered, tall + 4, tall - strip, width, length, COLOURS.fresh);
  const draws = (note, top, colour, how) => block(g, note, top, top ? tall - strip : tall, width, length, range, colour, how);
  for (const note of call) draws(note, 0, COLOURS.played, "full");
  for (const note of gone) draws(note, tall + 4, COLOURS.gone, "outline");
  for (const note of answer) if (!drummed.has(note)) draws(note, tall + 4, kept.has(note) ? COLOURS.played : COLOURS.fresh, picture.sounds ? "full" : "coming");
  for (const note of expected) if (!drummed.has(note)) draws(note, tall + 4, COLOURS.fresh, "outline");
  if (strip) beats(g, height - strip, width, length, beat, hoped, picture);
  if (picture.plan) chords(g, tall + 4, width, length, picture.plan);
}

// Those of some notes that are drums: on channel 10, where there are several.
function struck(notes, channels) {
  return notes.filter((_, i) => channels?.[i] === DRUMS);
}

// Draws a beat as a strip of three rows below the other parts: cymbals, snare, bass drum.
function beats(g, top, width, length, sure, open, { barTicks }) {
  g.fillStyle = COLOURS.ground;
  g.fillRect(0, top, width, BEAT);
  g.fillStyle = COLOURS.text;
  g.font = "600 11px system-ui, sans-serif";
  g.textAlign = "right";
  g.textBaseline = "middle";
  g.fillText("drums", STRIP - 6, top + BEAT / 2);
  g.fillStyle = COLOURS.bar;
  g.fillRect(STRIP, top, width - STRIP, 1);
  for (let t = 0; t < length; t += PPQN) {
    g.fillStyle = t % barTicks ? COLOURS.line : COLOURS.bar;
    g.fillRect(STRIP + (t / length) * (width - STRIP), top, t % barTicks ? 1 : 2, BEAT);
  }
  const row = BEAT / 3;
  for (const [notes, open_] of [[sure, false], [open, true]]) {
    for (const note of notes) {
      const x = STRIP + (Math.max(note.on, 0) / length) * (width - STRIP);
      const y = top + row * (note.pitch < 37 ? 2 : note.pitch < 41 ? 1 : 0);
      g.globalAlpha = open_ ? 0.9 : 0.5 + (0.5 * note.loud) / 127;
      g.fillStyle = g.strokeStyle = COLOURS.fresh;
      g.lineWidth = 1.5;
      if (open_) g.strokeRect(x + 1, y + 3, 5, row - 5);
      else g.fillRect(x, y + 2, 7, row - 3);
    }
  }
  g.globalAlpha = 1;
}

// Writes the names of planned chords where they begin: those that are committed, and paler those that may change.
function chords(g, top, width, length, [start, certain, ...names]) {
  g.textAlign = "left";
  g.textBaseline = "top";
  const first = Math.floor(start / length) * length;
  names.forEach((name, i) => {
    const at = start + (i * PPQN) / 2 - first;
    if (!name || at >= length || (i > 0 && name === names[i - 1])) return;
    const x = STRIP + (at / length) * (width - STRIP) + 3;
    g.fillStyle = COLOURS.ground;
    g.globalAlpha = 0.8;
    g.fillRect(x - 2, top + BELOW, g.measureText(name).width + 4, 16);
    g.font = `${i < certain ? "" : "italic "}600 13px system-ui, sans-serif`;
    g.globalAlpha = i < certain ? 1 : 0.75;
    g.fillStyle = COLOURS.text;
    g.fillText(name, x, top + BELOW + 2);
  });
  g.globalAlpha = 1;
}

// Draws a loop as a little roll that fills a canvas, whose width and height are its own.
export function thumb(canvas, flat, colour) {
  const g = canvas.getContext("2d");
  const { width, height } = canvas;
  g.fillStyle = COLOURS.ground;
  g.fillRect(0, 0, width, height);
  const notes = notesOf(flat);
  if (!notes.length) return;
  const length = Math.max(flat[0], 1);
  const { low, rows } = pitches(notes);
  const row = height / rows;
  g.fillStyle = COLOURS.line;
  for (let t = 4 * PPQN; t < length; t += 4 * PPQN) g.fillRect((t / length) * width, 0, 1, height);
  g.fillStyle = COLOURS[colour];
  for (const note of notes) {
    g.globalAlpha = 0.5 + (0.5 * note.loud) / 127;
    g.fillRect((Math.max(note.on, 0) / length) * width, height - (note.pitch - low + 1) * row, Math.max((note.lasts / length) * width - 1, 3), Math.max(row, 4));
  }
  g.globalAlpha = 1;
}

function pitches(notes, drums) {
  const all = notes.map((n) => n.pitch);
  let [low, high] = [Math.min(...all, 127), Math.max(...all, 0)];
  if (!all.length) [low, high] = [54, 78];
  [low, high] = [low - 2, high + 2];
  // An octave and a half at least, so that the picture does not jump with every note; a kit has less.
  while (high - low < (drums ? 10 : 18)) [low, high] = [low - 1, high + 1];
  return { low, rows: high - low + 1, used: new Set(all) };
}

function lane(g, top, tall, width, length, { low, rows, used }, { barTicks, drums }) {
  const row = tall / rows;
  for (let i = 0; i < rows; i += 1) {
    const pitch = low + i;
    const y = top + tall - (i + 1) * row;
    const black = BLACK.has(((pitch % 12) + 12) % 12);
    if (black) g.fillStyle = COLOURS.dark, g.fillRect(STRIP, y, width - STRIP, row);
    g.fillStyle = black ? "#20242e" : "#c9d1e0";
    g.fillRect(0, y, black ? STRIP * 0.62 : STRIP - 4, Math.max(row - 0.5, 0.5));
    const name = drums ? used.has(pitch) && DRUM_NAMES[pitch] : pitch % 12 === 0 ? `C${pitch / 12 - 1}` : "";
    if (!name) continue;
    const size = Math.min(Math.max(row, 10), 12);
    g.font = `600 ${size}px system-ui, sans-serif`;
    g.textAlign = "right";
    g.textBaseline = "middle";
    const middle = Math.min(y + row / 2, top + tall - size / 2);
    // A name is higher than a narrow row, and would be lost among the keys.
    g.fillStyle = black ? "#20242e" : "#c9d1e0";
    if (row < size) g.fillRect(STRIP - 8 - g.measureText(name).width, middle - size / 2, g.measureText(name).width + 4, size);
    g.fillStyle = black ? "#f3f5fa" : "#14171f";
    g.fillText(name, STRIP - 6, middle);
  }
  for (let t = 0; t < length; t += PPQN) {
    g.fillStyle = t % barTicks ? COLOURS.line : COLOURS.bar;
    g.fillRect(STRIP + (t / length) * (width - STRIP), top, t % barTicks ? 1 : 2, tall);
  }
}

// Draws bends and pressure as faint lines, a bend about the middle, and the pedal as a bar below; the first of a kind
// has its name where it is highest.
function moves(g, flat, top, tall, width, length, colour) {
  const lines = new Map();
  for (let i = 0; i + 2 < (flat?.length ?? 0); i += 3) {
    if (!lines.has(flat[i])) lines.set(flat[i], []);
    lines.get(flat[i]).push([STRIP + (Math.max(flat[i + 1], 0) / length) * (width - STRIP), flat[i + 2]]);
  }
  g.strokeStyle = g.fillStyle = colour;
  g.lineWidth = 2;
  g.font = "600 11px system-ui, sans-serif";
  [g.textAlign, g.textBaseline] = ["left", "bottom"];
  const said = new Set();
  for (const [kind, points] of lines) {
    const [word, high] = kind < 16 ? ["bend", (value) => top + tall * (0.5 - value / 8192 / 2.5)]
      : kind < 32 ? ["pressure", (value) => top + tall * (1 - value / 160)] : ["pedal", () => top + tall - 4];
    const most = points.reduce((a, b) => (Math.abs(b[1]) > Math.abs(a[1]) ? b : a));
    g.globalAlpha = 1;
    if (most[1] && !said.has(word)) g.fillText(word, Math.min(most[0], width - 50), high(most[1]) - 2), said.add(word);
    g.globalAlpha = 0.6;
    if (kind >= 32) {
      points.forEach(([x, value], i) => value >= 64 && g.fillRect(x, top + tall - 3, (points[i + 1]?.[0] ?? width) - x, 3));
      continue;
    }
    g.beginPath();
    g.moveTo(points[0][0], high(points[0][1]));
    // A value stays until the next one comes.
    points.forEach(([x, value], i) => (i && g.lineTo(x, high(points[i - 1][1])), g.lineTo(x, high(value))));
    g.stroke();
  }
  g.globalAlpha = 1;
}

function block(g, note, top, tall, width, length, { low, rows }, colour, how) {
  const row = tall / rows;
  const across = (width - STRIP) / length;
  const x = STRIP + Math.max(note.on, 0) * across;
  const wide = Math.max(note.lasts * across - 1, 4);
  const high = Math.max(row - 1, 4);
  const y = top + tall - (note.pitch - low + 1) * row + (row - high) / 2;
  g.globalAlpha = how === "outline" ? 0.9 : 0.5 + (0.5 * note.loud) / 127;
  if (how === "outline") {
    g.strokeStyle = colour;
    g.lineWidth = 1.5;
    g.setLineDash([4, 3]);
    g.strokeRect(x + 1, y + 1, Math.max(wide - 2, 2), Math.max(high - 2, 2));
    g.setLineDash([]);
  } else {
    if (how === "coming") g.globalAlpha *= 0.6;
    g.fillStyle = colour;
    g.fillRect(x, y, wide, high);
    // What is new differs by more than its colour: it has a bright edge where it begins.
    if (colour === COLOURS.fresh) g.globalAlpha = 1, g.fillStyle = "#fff", g.fillRect(x, y, 2.5, high);
  }
  g.globalAlpha = 1;
}
