// What the page sounds: voices, drums and a metronome, each at its time on the audio clock.
//
// Messages come with times of the server's clock, a little ahead. The audio clock advances in blocks, so that at any
// moment it reads up to a block too little: the largest lead over the page's clock of late is the right one. It falls
// behind for good where a busy machine misses blocks, so that old readings must not count for long.

import { pageTime, serverTime } from "./link.js";

const PPQN = 480;
const MOST_VOICES = 48;
const CLOCK_MS = 100; // how often the clocks are compared
const FIRST_MS = 7; // and at first
const RECENT_S = 1.2; // of the readings since, the best counts
const FEW = 10;
const PATIENCE_MS = 2000;
const DRUMS = 9; // the channel, counted from 0
const SHOWN_S = 0.12;
const PAN = { played: -0.35, answer: 0.35 };

let audio = null;
let master = null; // everything goes through it
let rooms = {}; // by whose voice: what its notes go into
let noise = null;
let leads = [];
let voices = []; // those that sound or will
let clicks = [];
let drums = false; // whether everything is played on drums, whatever its channel
let pedal = false; // of the player
let kept = []; // keys that the player let go while the pedal was down
let measuring = null;
let struck = () => {};
const levels = { volume: 0.85, metronome: true };

export function begun() {
  return audio !== null;
}

export function sounds() {
  return audio !== null && audio.state === "running";
}

// Begins to sound; browsers allow that in answer to a key or a click only.
//   onStruck: called with the pitch and the seconds until an answer's note begins, and how long it may be shown.
export async function begin(onStruck = () => {}) {
  struck = onStruck;
  if (audio === null) build();
  // Without a device it may never come.
  await Promise.race([audio.resume(), new Promise((done) => { setTimeout(done, PATIENCE_MS); })]);
  follow();
}

// Seconds from a note on the audio clock until it is heard, as far as the browser knows.
export function latency() {
  return audio === null ? 0 : (audio.baseLatency || 0) + (audio.outputLatency || 0);
}

export function setVolume(share) {
  levels.volume = share;
  // As loudness is heard: half of the way is a quarter of the power.
  if (master) master.gain.setTargetAtTime(share * share, audio.currentTime, 0.01);
}

export function setDrums(on) {
  drums = on;
}

export function setMetronome(on) {
  levels.metronome = on;
  if (!on) silenceClicks(-Infinity);
}

export function metronome() {
  return levels.metronome;
}

// ---- what comes from the instrument ---------------------------------------------------------------------------------

// A message that is due at a time of the server's clock.
//   whose: "answer", or "played" if a performer plays in the place of the player.
export function due(whose, at, status, first, second) {
  if (!audio) return;
  const [kind, channel] = [status & 0xf0, drums ? DRUMS : status & 0x0f];
  if (kind === 0x90 && second > 0) {
    // A key that is struck again ends the note before.
    end(whose, channel, first, at);
    strike(whose, channel, first, second, at);
  } else if (kind === 0x80 || kind === 0x90) end(whose, channel, first, at);
  else if (kind === 0xb0 && (first === 120 || first === 123)) silence((v) => v.whose === whose && v.channel === channel);
}

// Lets no note begin that was to begin later than a time of the server's clock.
export function takeBack(now) {
  silence((v) => v.whose === "answer" && v.at > now);
  silenceClicks(now);
}

// Ends everything at once.
export function cut() {
  silence(() => true);
  silenceClicks(-Infinity);
  kept = [];
}

export function beat(at, tick, barTicks) {
  if (!audio || !levels.metronome || tick % PPQN) return;
  clicks = clicks.filter((click) => click.at > serverTime() - 0.5);
  const when = timeOf(at);
  if (when < audio.currentTime - 0.02) return;
  const source = audio.createOscillator();
  source.frequency.value = tick % barTicks ? 1100 : 1650;
  const gain = envelope(when, 0.12, 0.001, 0.018);
  source.connect(gain).connect(master);
  start(source, when, when + 0.15);
  clicks.push({ at, gain });
}

// ---- what the player plays: it sounds at once -----------------------------------------------------------------------

export function press(channel, pitch, velocity) {
  if (!audio) return;
  if (!sounds()) audio.resume(); // a call or another device may have interrupted it
  kept = kept.filter((key) => key[1] !== pitch);
  end("played", channel, pitch, null);
  strike("played", channel, pitch, velocity, null);
}

export function release(channel, pitch) {
  if (pedal) kept.push([channel, pitch]);
  else end("played", channel, pitch, null);
}

export function sustain(down) {
  pedal = down;
  if (down) return;
  for (const [channel, pitch] of kept) end("played", channel, pitch, null);
  kept = [];
}

// ---- voices ---------------------------------------------------------------------------------------------------------

// Begins a note at a time of the server's clock, or at once if that is null.
function strike(whose, channel, pitch, velocity, at) {
  voices = voices.filter((v) => v.ends === null || v.ends > audio.currentTime);
  if (voices.length >= MOST_VOICES) silence((v) => v === voices[0]);
  const when = at === null ? audio.currentTime : Math.max(timeOf(at), audio.currentTime);
  const gain = audio.createGain();
  gain.gain.value = 0;
  gain.connect(rooms[whose]);
  const make = channel === DRUMS ? drum : whose === "played" ? piano : bell;
  const voice = { whose, channel, pitch, at: at ?? -Infinity, when, gain, ends: null, open: channel !== DRUMS, sources: [] };
  const lasts = make(voice, when, pitch, (velocity / 127) ** 1.4);
  voice.ends = channel === DRUMS ? when + lasts : null;
  voices.push(voice);
  if (whose !== "answer") return;
  struck(pitch, when - audio.currentTime, true);
  if (!voice.open) struck(pitch, when + SHOWN_S - audio.currentTime, false); // nobody ends a drum
}

function end(whose, channel, pitch, at) {
  const voice = voices.findLast((v) => v.open && v.whose === whose && v.channel === channel && v.pitch === pitch);
  if (!voice) return;
  voice.open = false;
  if (at !== null && at <= voice.at) return quiet(voice); // it has not begun
  const when = Math.max(at === null ? 0 : timeOf(at), voice.when + 0.03, audio.currentTime);
  const fade = whose === "played" ? 0.07 : 0.11;
  hold(voice.gain.gain, when);
  voice.gain.gain.setTargetAtTime(0, when, fade);
  voice.ends = when + 8 * fade;
  for (const source of voice.sources) source.stop(voice.ends);
  if (whose === "answer") struck(pitch, when - audio.currentTime, false);
}

function silence(which) {
  for (const voice of voices.filter(which)) quiet(voice);
}

// Ends a voice at once, whether it has begun or not.
function quiet(voice) {
  voices = voices.filter((v) => v !== voice);
  fade(voice.gain);
  for (const source of voice.sources) source.stop(audio.currentTime + 0.05);
  if (voice.whose === "answer") struck(voice.pitch, 0, false);
}

function silenceClicks(now) {
  for (const click of clicks.filter((c) => c.at > now)) fade(click.gain);
  clicks = clicks.filter((c) => c.at <= now);
}

function fade(gain) {
  hold(gain.gain, audio.currentTime);
  gain.gain.setTargetAtTime(0, audio.currentTime, 0.008);
}

function hold(parameter, when) {
  if (parameter.cancelAndHoldAtTime) parameter.cancelAndHoldAtTime(when);
  else parameter.cancelScheduledValues(when);
}

// An electric piano by frequency modulation: a body, and the tine that is heard as it is struck.
function piano(voice, when, pitch, loud) {
  const hertz = frequency(pitch);
  const lasts = 1.1 * 2 ** ((60 - pitch) / 30);
  shape(voice.gain.gain, when, 0.3 * loud, 0.002, lasts);
  modulated(voice, when, hertz, hertz, hertz * (0.6 + 2.2 * loud), lasts / 3, 1);
  modulated(voice, when, hertz, hertz * 14, hertz * 1.3 * loud, 0.08, 0.35 * loud);
}

// The answer: a soft mallet, whose overtones die away sooner than its note.
function bell(voice, when, pitch, loud) {
  const hertz = frequency(pitch);
  const lasts = 0.9 * 2 ** ((60 - pitch) / 36);
  shape(voice.gain.gain, when, 0.34 * loud, 0.004, lasts);
  modulated(voice, when, hertz, hertz * 3.01, hertz * (0.5 + 1.2 * loud), lasts / 6, 0.85);
  partial(voice, when, "triangle", hertz, 0.35, lasts);
}

// A sine whose frequency another sine moves, by less and less.
function modulated(voice, when, hertz, by, depth, fades, level) {
  const [carrier, modulator, much, gain] = [audio.createOscillator(), audio.createOscillator(), audio.createGain(), audio.createGain()];
  carrier.frequency.value = hertz;
  modulator.frequency.value = Math.min(by, audio.sampleRate / 2.2);
  much.gain.setValueAtTime(depth, when);
  much.gain.setTargetAtTime(depth * 0.12, when, fades);
  gain.gain.value = level;
  modulator.connect(much).connect(carrier.frequency);
  carrier.connect(gain).connect(voice.gain);
  run(voice, carrier, when);
  run(voice, modulator, when);
}

function partial(voice, when, type, hertz, level, lasts) {
  const source = audio.createOscillator();
  source.type = type;
  source.frequency.value = hertz;
  const gain = envelope(when, level, 0.002, lasts);
  source.connect(gain).connect(voice.gain);
  run(voice, source, when);
  return source;
}

function run(voice, source, when) {
  source.start(when);
  voice.sources.push(source);
}

function frequency(pitch) {
  return 440 * 2 ** ((pitch - 69) / 12);
}

// ---- drums, by their pitches in General MIDI; returns how long one lasts in seconds ----------------------------------

function drum(voice, when, pitch, loud) {
  voice.gain.gain.setValueAtTime(loud, when);
  if (pitch === 35 || pitch === 36) return thump(voice, when, 150, 48, 0.16, 0.9);
  if ([41, 43, 45, 47, 48, 50].includes(pitch)) return thump(voice, when, 90 + 16 * (pitch - 40), 60 + 9 * (pitch - 40), 0.2, 0.6);
  if ([37, 39, 56, 75, 76, 77].includes(pitch)) return hiss(voice, when, "bandpass", pitch === 39 ? 1200 : 2600, 0.03, 0.6);
  if (pitch === 38 || pitch === 40) {
    thump(voice, when, 240, 170, 0.06, 0.35);
    return hiss(voice, when, "highpass", 1400, 0.075, 0.45);
  }
  if (pitch === 46) return hiss(voice, when, "highpass", 7000, 0.14, 0.22);
  if ([49, 51, 52, 53, 55, 57, 59].includes(pitch)) return hiss(voice, when, "highpass", 5200, [51, 53, 59].includes(pitch) ? 0.22 : 0.45, 0.2);
  return hiss(voice, when, "highpass", 8000, 0.03, 0.25);
}

function thump(voice, when, from, to, lasts, level) {
  const source = audio.createOscillator();
  source.frequency.setValueAtTime(from, when);
  source.frequency.exponentialRampToValueAtTime(to, when + lasts / 2);
  source.connect(envelope(when, level, 0.001, lasts)).connect(voice.gain);
  run(voice, source, when);
  source.stop(when + 8 * lasts);
  return 8 * lasts;
}

function hiss(voice, when, type, hertz, lasts, level) {
  const [source, filter] = [audio.createBufferSource(), audio.createBiquadFilter()];
  source.buffer = noise;
  source.loop = true;
  Object.assign(filter, { type });
  filter.frequency.value = hertz;
  source.connect(filter).connect(envelope(when, level, 0.001, lasts)).connect(voice.gain);
  run(voice, source, when);
  source.stop(when + 8 * lasts);
  return 8 * lasts;
}

// ---- the room -------------------------------------------------------------------------------------------------------

function build() {
  audio = new AudioContext({ latencyHint: "interactive" });
  const limiter = audio.createDynamicsCompressor();
  Object.assign(limiter.threshold, { value: -8 });
  Object.assign(limiter.knee, { value: 6 });
  Object.assign(limiter.ratio, { value: 16 });
  Object.assign(limiter.attack, { value: 0.002 });
  Object.assign(limiter.release, { value: 0.12 });
  master = audio.createGain();
  master.gain.value = levels.volume ** 2;
  master.connect(limiter).connect(audio.destination);
  noise = audio.createBuffer(1, audio.sampleRate, audio.sampleRate);
  const samples = noise.getChannelData(0);
  for (let i = 0; i < samples.length; i += 1) samples[i] = 2 * Math.random() - 1;
  const [echo, wet] = [audio.createConvolver(), audio.createGain()];
  echo.buffer = room(0.9);
  wet.gain.value = 0.16;
  echo.connect(wet).connect(master);
  for (const [whose, pan] of Object.entries(PAN)) {
    rooms[whose] = audio.createStereoPanner();
    rooms[whose].pan.value = pan;
    rooms[whose].connect(master);
    rooms[whose].connect(echo);
  }
}

// The echo of a small room: noise that dies away.
function room(seconds) {
  const buffer = audio.createBuffer(2, seconds * audio.sampleRate, audio.sampleRate);
  for (const channel of [0, 1]) {
    const samples = buffer.getChannelData(channel);
    let last = 0;
    for (let i = 0; i < samples.length; i += 1) {
      last += 0.35 * (2 * Math.random() - 1 - last); // walls swallow the treble
      samples[i] = last * Math.exp((-5.5 * i) / samples.length);
    }
  }
  return buffer;
}

function envelope(when, level, rises, falls) {
  const gain = audio.createGain();
  shape(gain.gain, when, level, rises, falls);
  return gain;
}

function shape(parameter, when, level, rises, falls) {
  parameter.setValueAtTime(0, when);
  parameter.linearRampToValueAtTime(level, when + rises);
  parameter.setTargetAtTime(0, when + rises, falls);
}

function start(source, when, ends) {
  source.start(when);
  source.stop(ends);
}

// ---- the audio clock ------------------------------------------------------------------------------------------------

function follow() {
  clearTimeout(measuring);
  leads = [];
  audio.onstatechange = () => {
    if (audio.state === "running") follow(); // it stood still meanwhile
  };
  measure();
}

function measure() {
  measuring = setTimeout(measure, leads.length < FEW ? FIRST_MS : CLOCK_MS);
  read();
}

function read() {
  const now = performance.now() / 1000;
  while (leads.length > FEW && leads[0].at < now - RECENT_S) leads.shift();
  leads.push({ at: now, lead: audio.currentTime - now });
}

// When a time of the server's clock is on the audio clock.
function timeOf(at) {
  read();
  return pageTime(at) + Math.max(...leads.map((each) => each.lead));
}
