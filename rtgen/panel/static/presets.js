// Presets as cards: what each does, in its own line, with its mode and use.

import { hello, say, state } from "./link.js";
import { element } from "./knobs.js";

const $ = (id) => document.getElementById(id);

// Builds the cards.
//   chosen: called with the name of one that was clicked.
export function build(chosen) {
  $("cards").replaceChildren(...hello.presets.map((p) => {
    const card = element("button", { type: "button", className: "card", title: `model ${p.model}` });
    card.dataset.preset = p.name;
    const name = element("b", {});
    if (p.program) name.append(element("i", { textContent: p.program }), " ");
    name.append(p.name);
    const facts = [p.mode, p.use, `${p.bars} bar${p.bars === 1 ? "" : "s"}`];
    card.append(name, element("span", { textContent: p.description }), element("small", { textContent: facts.join(" · ") }));
    card.onclick = () => {
      say({ preset: p.name });
      chosen(p.name);
    };
    return card;
  }));
  if (state["state/preset"]) show();
}

// Shows which one plays.
export function show() {
  const name = state["state/preset"][0];
  const found = hello?.presets.find((p) => p.name === name);
  $("preset").textContent = found?.program ? `${found.program} ${name}` : name;
  $("about").textContent = found?.description ?? "";
  for (const card of $("cards").children) {
    if (card.dataset.preset === name) card.setAttribute("aria-current", "true");
    else card.removeAttribute("aria-current");
  }
}
