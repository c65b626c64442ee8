// Kept answers: each a little roll, to be dragged out or downloaded.

import { element } from "./knobs.js";
import { thumb } from "./rolls.js";

const $ = (id) => document.getElementById(id);
const NAMED = /^\d{4}-\d\d-\d\d (\d\d)\.(\d\d)\.\d\d (.+) (\d+ BPM) (.+)\.mid$/; // as rtgen names a clip

export async function list() {
  const found = await fetch("/clips").then((r) => r.json()).catch(() => []);
  $("clips").replaceChildren(...found.map(({ name, roll }) => {
    const url = `/clips/${encodeURIComponent(name)}`;
    const link = element("a", { className: "card", href: url, download: name, draggable: true, title: `${name}: drag it out, or click to download` });
    const [, hour, minute, key, tempo, preset] = NAMED.exec(name) ?? [];
    const canvas = element("canvas", { width: 360, height: 120 });
    link.append(canvas, element("b", { textContent: key ?? name.replace(".mid", "") }));
    if (key) link.append(element("small", { textContent: `${tempo} · ${preset} · ${hour}:${minute}` }));
    thumb(canvas, roll, "fresh");
    link.ondragstart = (event) => {
      // Browsers that are built on Chromium make a file of it; others drag the address.
      event.dataTransfer.effectAllowed = "copy";
      event.dataTransfer.setData("DownloadURL", `audio/midi:${name}:${new URL(url, location)}`);
      event.dataTransfer.setDragImage(canvas, 20, 20);
    };
    const item = document.createElement("li");
    item.append(link);
    return item;
  }));
  $("no-clips").hidden = found.length > 0;
}
