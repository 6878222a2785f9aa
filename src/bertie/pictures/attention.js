// Lets the reader choose a head, and shows one token's attention weights. All its data is in this page.
"use strict";
const BEFORE = 1089, AFTER = 16;  // bytes of the PNG before and after its compressed rows (png.py)
const find = id => document.getElementById(id);
const tokens = [...find("tokens").children];
const names = tokens.map(token => token.textContent);
const large = find("large"), band = find("row");
const count = names.length, start = large.y.baseVal.value, side = large.height.baseVal.value;
const selects = ["layer", "head"].map(find);
let rows = null, chosen = Math.min(1, count - 1), requests = 0;

const address = image => image.getAttribute("href") || image.getAttribute("xlink:href");
// each PNG row begins with its filter byte; the other bytes are square roots of weights
const weight = (row, column) => (rows[row * (count + 1) + 1 + column] / 255) ** 2;

async function read(uri) {
  const bytes = Uint8Array.from(atob(uri.split(",")[1]), letter => letter.charCodeAt(0)).slice(BEFORE, -AFTER);
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

function point(row) {
  chosen = row;
  if (!rows) return;
  const weights = names.map((_, column) => weight(row, column));
  tokens.forEach((token, column) => {
    token.style.setProperty("--weight", `${(80 * Math.sqrt(weights[column])).toFixed(1)}%`);
    token.classList.toggle("from", column === row);
  });
  band.setAttribute("y", start + row * side / count);
  const best = weights.map((value, column) => [value, column]).sort((a, b) => b[0] - a[0]).slice(0, 5);
  find("said").textContent = `${names[row]} → ` + best.map(([value, to]) => `${names[to]} ${value.toFixed(2)}`).join(" · ");
}

async function show(image, layer, head) {
  const request = ++requests;
  large.setAttribute("href", address(image));
  if (layer !== undefined) {
    find("which").textContent = `layer ${layer}, head ${head}`;
    [selects[0].value, selects[1].value] = [layer, head];
    document.querySelectorAll(".small").forEach(one =>
      one.classList.toggle("chosen", one.dataset.layer === layer && one.dataset.head === head));
  }
  const bytes = await read(address(image));
  if (request === requests) { rows = bytes; point(chosen); }  // else another head was chosen meanwhile
}

const showSmall = small => show(small.querySelector("image"), small.dataset.layer, small.dataset.head);
const small = (layer, head) => document.querySelector(`.small[data-layer="${layer}"][data-head="${head}"]`);

tokens.forEach((token, row) => ["mouseenter", "focus"].forEach(event => token.addEventListener(event, () => point(row))));
large.addEventListener("mousemove", event => {
  const box = large.getBoundingClientRect();
  point(Math.max(0, Math.min(count - 1, Math.floor((event.clientY - box.top) / box.height * count))));
});
if (selects[0]) {
  selects.forEach(select => select.addEventListener("change", () => showSmall(small(...selects.map(one => one.value)))));
  document.querySelectorAll(".small").forEach(one => one.addEventListener("click", () => showSmall(one)));
  showSmall(small(...selects.map(one => one.value)));
} else {
  show(large);
}
