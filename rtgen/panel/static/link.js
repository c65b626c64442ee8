// The connection to the server: what it says, what it is told, and whose clock is whose.

export const state = { alive: false }; // values by address, as the server sends them
export let hello = null; // what the page is built of

const PINGS = 5; // at the start, one after the other; then one every so often
const PING_MS = 4000;
const KEPT = 8; // of the latest measurements, the one that took least time is the best

let socket = null;
let heard = () => {};
let refused = () => {};
let closed = () => {};
let pings = []; // [round trip, by how much the server's clock is ahead], in seconds
let ticking = null;

// Connects, and again whenever the connection is lost.
//   onMessage: called with every message; onRefused: with a sentence if there is no way in; onClosed: when it is lost.
export function connect(onMessage, onRefused, onClosed) {
  [heard, refused, closed] = [onMessage, onRefused, onClosed];
  enter();
  window.addEventListener("hashchange", () => {
    if (socket?.readyState !== WebSocket.OPEN) enter();
  });
}

export function say(what) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(what));
}

// Seconds of the server's clock at a time of this page, which is the present unless said otherwise.
export function serverTime(ms = performance.now()) {
  return ms / 1000 + ahead();
}

// Seconds of this page's clock at a time of the server's.
export function pageTime(seconds) {
  return seconds - ahead();
}

// Half of the quickest way there and back, in milliseconds; null before it is known.
export function distanceMs() {
  return pings.length ? 500 * best()[0] : null;
}

function ahead() {
  return pings.length ? best()[1] : 0;
}

function best() {
  return pings.reduce((a, b) => (b[0] < a[0] ? b : a));
}

// The token comes in the fragment of the address, which only this script sees; the server then gives a cookie for it.
async function enter() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch("/enter", { method: "POST", headers }).catch(() => null);
  if (answer && !answer.ok) {
    refused(await answer.text());
    if (answer.status !== 403) setTimeout(enter, 5000);
    return;
  }
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.onmessage = (event) => hear(JSON.parse(event.data));
  socket.onclose = () => {
    clearInterval(ticking);
    closed();
    setTimeout(enter, 1000);
  };
}

function hear(message) {
  if (message.pong) return measured(...message.pong);
  if (message.hello) {
    hello = message.hello;
    if (hello.plays) measure();
  }
  heard(message);
}

// ---- whose clock is whose -------------------------------------------------------------------------------------------

function measure() {
  pings = [];
  clearInterval(ticking);
  ticking = setInterval(ping, PING_MS);
  ping();
}

function ping() {
  say({ ping: performance.now() });
}

function measured(sent, there) {
  const now = performance.now();
  pings.push([(now - sent) / 1000, there - (now + sent) / 2000]);
  if (pings.length > KEPT) pings.shift();
  if (pings.length < PINGS) ping();
}
