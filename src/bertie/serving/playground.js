// Sends requests to the page's own server and shows the answers. User input is only ever inserted as text, never as HTML.
"use strict";

const at = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toFixed(1)} %`;
// offsets in answers count code points, JavaScript's strings UTF-16 units
const characters = (text) => Array.from(text);
const several = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const lines = (text) => text.split("\n").filter((line) => line.trim());

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// ---- drawing answers

const colours = new Map();

/** The CSS class of one of six colours; a label keeps its own while the page is open. */
function colourOf(label) {
  if (!colours.has(label)) colours.set(label, colours.size % 6);
  return `kind-${colours.get(label)}`;
}

/** The text with spans {start, end, label?} marked, the label beside each. */
function marked(text, spans) {
  const all = characters(text);
  const found = make("p", { class: "text", dir: "auto" });
  let place = 0;
  for (const { start, end, label } of [...spans].sort((one, other) => one.start - other.start)) {
    if (start < place) continue;
    const inside = all.slice(start, end).join("");
    const mark = make("mark", { class: label === undefined ? "kind-0" : colourOf(label) }, inside);
    if (label !== undefined) mark.append(" ", make("small", {}, label));
    found.append(all.slice(place, start).join(""), mark);
    place = end;
  }
  found.append(all.slice(place).join(""));
  return found;
}

/** A table of {name, value, said?, threshold?}, with values from 0 to 1 as bars. */
function bars(caption, rows) {
  const body = make("tbody");
  for (const { name, value, said = percent(value), threshold } of rows) {
    const bar = make("span", { class: "bar", "aria-hidden": "true" }, make("i"));
    bar.style.setProperty("--value", Math.min(1, Math.max(0, value)));
    if (threshold !== undefined) {
      bar.append(make("b"));
      bar.style.setProperty("--threshold", threshold);
    }
    const heading = make("th", { scope: "row", dir: "auto" }, name);
    body.append(make("tr", {}, heading, make("td", {}, bar), make("td", {}, said)));
  }
  return make("table", {}, make("caption", {}, caption), body);
}

function entities({ entities }, { text }) {
  const named = entities.map((one) => ({ ...one, label: one.entity_group ?? one.entity }));
  const all = characters(text);
  const words = (one) => all.slice(one.start, one.end).join("");
  const rows = named.map((one) => ({ name: `${words(one)} (${one.label})`, value: one.score }));
  return [several(entities.length, "entity", "entities"), marked(text, named),
    ...(rows.length ? [bars("How sure the model is of each", rows)] : [])];
}

function answers({ answers }, { context }) {
  const [best] = answers;
  const rows = answers.map((one) => ({ name: one.answer || "(no answer)", value: one.score }));
  return [best?.answer ? best.answer : "The text has no answer.", marked(context, best?.answer ? [best] : []),
    bars("Answers, best first", rows)];
}

function fills({ masks }) {
  const tables = masks.map((fills, place) => bars(
    masks.length > 1 ? `Mask ${place + 1}` : "Words for the mask",
    fills.map((fill) => ({ name: fill.token_str, value: fill.score })),
  ));
  return [masks.map((fills) => fills[0].token_str).join(", "), ...tables];
}

function neighbours(cosines, { sentences }) {
  const texts = lines(sentences);
  const rows = cosines.map((value, place) => ({ name: texts[place], value, said: value.toFixed(3) }));
  rows.sort((one, other) => other.value - one.value);
  return [`Nearest: ${rows[0].name}`, bars("Cosine with the text, nearest first", rows)];
}

function ranks(ranked, { passages }) {
  const texts = lines(passages);
  const rows = ranked.map(({ index, score }) => ({ name: texts[index], value: score, said: score.toFixed(3) }));
  return [`First: ${rows[0].name}`, bars("Relevance, best first", rows)];
}

function classes({ data: [found] }, _, { labels }) {
  if (labels.length === 1) return [`${labels[0]}: ${found.probs[0].toFixed(3)}`];
  const { thresholds } = found;
  const rows = labels.map((name, place) => ({ name, value: found.probs[place], threshold: thresholds?.[name] }));
  for (const row of thresholds ? rows : []) {
    const reached = found.labels.includes(row.name);
    row.said = `${percent(row.value)} ${reached ? "≥" : "<"} ${percent(row.threshold)}${reached ? " ✓" : ""}`;
  }
  rows.sort((one, other) => other.value - one.value);
  const said = thresholds ? found.labels.join(", ") || "No label reaches its threshold." : found.label;
  return [said, bars(thresholds ? "Each label, and its threshold as a line" : "Classes, likeliest first", rows)];
}

function following({ is_next, score }) {
  const rows = [{ name: "It follows", value: score }, { name: "It does not", value: 1 - score }];
  return [`The second text ${is_next ? "follows" : "does not follow"} the first.`, bars("How sure the model is", rows)];
}

function choices({ choices }) {
  const rows = choices.map((one) => ({ name: one.text, value: one.score }));
  return [`Best: ${rows[0].name}`, bars("Choices, best first", rows)];
}

function continuation({ generated_text: text }) {
  return ["What the model writes", make("p", { class: "text", dir: "auto" }, text)];
}

/** Tokens as written in the vocabulary, looked up with /decode. */
async function tokens([found], _, model) {
  const ids = found.map((token) => [token.id]);
  const pieces = ids.length ? await ask("decode", { ids, skip_special_tokens: false, model: model.name }) : [];
  const list = make("ol", { class: "tokens" });
  for (const [place, token] of found.entries()) {
    const piece = make("b", { dir: "auto" }, pieces[place]);
    list.append(make("li", { class: token.special ? "special" : undefined }, piece, " ", make("small", {}, token.id)));
  }
  const cut = found.length > model.max_input_length ? "; the rest is cut off" : "";
  return [`${several(found.length, "token")}; the model takes ${model.max_input_length}${cut}`, list];
}

function attention({ tokens, weights, layer, head }) {
  const group = make("p", { class: "text attention", role: "group", "aria-label": "Tokens; arrow keys move between them" });
  const said = make("div", { "aria-live": "polite" });
  const buttons = tokens.map((token) => make("button", { type: "button", tabindex: -1 }, token));
  const choose = (chosen) => {
    const row = weights[chosen], largest = Math.max(...row);
    for (const [place, button] of buttons.entries()) {
      button.setAttribute("aria-pressed", place === chosen);
      button.tabIndex = place === chosen ? 0 : -1;
      button.style.setProperty("--weight", row[place] / largest);
    }
    const order = row.map((value, place) => ({ name: tokens[place], value }));
    order.sort((one, other) => other.value - one.value);
    said.replaceChildren(bars(`What “${tokens[chosen]}” attends to`, order.slice(0, 8)));
  };
  for (const [place, button] of buttons.entries()) {
    button.addEventListener("click", () => choose(place));
    button.addEventListener("keydown", (event) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (!buttons[to]) return;
      event.preventDefault();
      choose(to);
      buttons[to].focus();
    });
    group.append(button, " ");
  }
  choose(0);
  return [`Head ${head} of layer ${layer}, ${several(tokens.length, "token")}: choose one`, group, said];
}

// ---- views

const STORY = "Ada Lovelace met Charles Babbage in London in June 1833. He showed her a part of his Difference Engine.";
const TEXT = { name: "text", label: "Text", value: STORY };
const upTo = (count) => Array.from({ length: count }, (_, place) => place);

// task of a model → its view: `path`, `fields` (`name`, `label`, `value`; `rows` of the text area, or `choices` for a
// list), `body` of the request, and `draw`, which returns a one-line summary of the answer and elements
const VIEWS = {
  "token-classification": {
    title: "Entities", path: "tag", fields: [TEXT], body: ({ text }) => ({ inputs: text }), draw: entities,
  },
  "question-answering": {
    title: "Answers", path: "answer", draw: answers,
    fields: [
      { name: "question", label: "Question", value: "Where did they meet?", rows: 1 },
      { name: "context", label: "Text", value: STORY },
    ],
    body: ({ question, context }) => ({ question, context, top_k: 3 }),
  },
  "fill-mask": {
    title: "Fills", path: "fill-mask", draw: fills,
    fields: [
      { name: "masked", label: "Text with masks", mask: true,
        value: (model) => `She opened the ${model.mask_token} and went in.` },
    ],
    body: ({ masked }) => ({ inputs: masked, top_k: 8 }),
  },
  "text-classification": {
    title: "Classes", path: "classify", fields: [TEXT], body: ({ text }) => ({ input: text }), draw: classes,
  },
  "embed": {
    title: "Nearest texts", path: "similarity", draw: neighbours,
    fields: [
      { name: "query", label: "Text", value: "How do I reset my password?", rows: 1 },
      { name: "sentences", label: "Texts to compare, one a line", rows: 5,
        value: "You can change your password in the settings.\nOur shop opens at nine.\nI forgot my login details." },
    ],
    body: ({ query, sentences }) => ({ inputs: { source_sentence: query, sentences: lines(sentences) } }),
    withModel: (body, model) => ({ ...body, parameters: { model } }),
  },
  "reranking": {
    title: "Ranks", path: "rerank", draw: ranks,
    fields: [
      { name: "query", label: "Question", value: "How do I reset my password?", rows: 1 },
      { name: "passages", label: "Passages, one a line", rows: 5,
        value: "You can change your password in the settings.\nOur shop opens at nine.\nI forgot my login details." },
    ],
    body: ({ query, passages }) => ({ query, texts: lines(passages) }),
  },
  "next-sentence": {
    title: "Next sentence", path: "next-sentence", draw: following,
    fields: [
      { name: "first", label: "First text", value: "She opened the door.", rows: 2 },
      { name: "second", label: "Second text", value: "The room behind it was dark.", rows: 2 },
    ],
    body: ({ first, second }) => ({ inputs: [first, second] }),
  },
  "multiple-choice": {
    title: "Choices", path: "choose", draw: choices,
    fields: [
      { name: "prompt", label: "Beginning", value: "She opened the door and", rows: 2 },
      { name: "choices", label: "Choices, one a line", value: "went in.\nate it.", rows: 4 },
    ],
    body: ({ prompt, choices }) => ({ prompt, choices: lines(choices) }),
  },
  "generate": {
    title: "Writing", path: "generate", draw: continuation,
    fields: [{ name: "beginning", label: "Text to continue, or source text", value: "She opened the door and" }],
    body: ({ beginning }) => ({ inputs: beginning, parameters: { no_repeat_ngram_size: 3 } }),
  },
  "tokens": {
    title: "Tokens", path: "tokenize", fields: [TEXT], body: ({ text }) => ({ inputs: text }), draw: tokens,
  },
  "attention-weights": {
    title: "Attention", path: "attention", draw: attention,
    fields: [
      TEXT,
      { name: "layer", label: "Layer", choices: (model) => upTo(model.layers) },
      { name: "head", label: "Head", choices: (model) => upTo(model.heads) },
    ],
    body: ({ text, layer, head }) => ({ inputs: text, layer: Number(layer), head: Number(head) }),
  },
};

// ---- the form

const models = new Map();
const typed = {};  // keeps what was typed when the view changes
let view;
let asking = new AbortController();

const model = () => models.get(at("model").value);
const values = () => Object.fromEntries(view.fields.map(({ name }) => [name, at(name).value]));

function requestBody() {
  const withModel = view.withModel ?? ((body, name) => ({ ...body, model: name }));
  return withModel(view.body(values()), model().name);
}

function showViews() {
  const known = [...model().tasks, "tokens"].filter((task) => task in VIEWS);
  if (!known.some((task) => VIEWS[task] === view)) view = VIEWS[known[0]];
  const radios = known.map((task) => {
    const radio = make("input", { type: "radio", name: "view", value: task, checked: VIEWS[task] === view });
    radio.addEventListener("change", () => { view = VIEWS[task]; showFields(); });
    return make("label", {}, radio, VIEWS[task].title);
  });
  at("views").replaceChildren(at("views").firstElementChild, ...radios);
  showFields();
}

function showFields() {
  at("fields").replaceChildren(...view.fields.map(fieldOf));
  clear();
  showCode();
}

function fieldOf({ name, label, value, rows = 4, choices, mask }) {
  const initial = typeof value === "function" ? value(model()) : value;
  const input = choices
    ? make("select", { id: name }, ...choices(model()).map((one) => make("option", {}, one)))
    : make("textarea", { id: name, rows, dir: "auto", autocomplete: "off" });
  if (!choices) input.value = typed[name] ?? initial;
  input.addEventListener("input", () => { typed[name] = input.value; showCode(); });
  if (choices) input.addEventListener("change", () => at("form").requestSubmit());
  const row = make("p", { class: choices ? "short" : undefined }, make("label", { for: name }, label), input);
  if (mask) row.append(maskButton(input));
  return row;
}

function maskButton(input) {
  const button = make("button", { type: "button", class: "quiet" }, `Insert ${model().mask_token}`);
  button.addEventListener("click", () => {
    input.setRangeText(model().mask_token, input.selectionStart, input.selectionEnd, "end");
    input.dispatchEvent(new Event("input"));
    input.focus();
  });
  return button;
}

// ---- requests

function clear() {
  asking.abort();
  at("status").textContent = at("error").textContent = "";
  at("answer").replaceChildren();
}

/** POST a body, or GET without one, and return the reply; an error has the server's own message. */
async function ask(path, body) {
  const headers = { "content-type": "application/json" };
  if (at("key").value) headers.authorization = `Bearer ${at("key").value}`;
  const more = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(path, { headers, signal: asking.signal, ...more });
  const reply = await response.json().catch(() => null);
  const cut = Number(response.headers.get("x-truncated-tokens"));
  if (cut) at("error").textContent = `${several(cut, "token")} did not fit into the model and were cut off.`;
  if (response.ok) return reply;
  if (response.status === 401) at("key-form").hidden = false;
  const said = reply?.error?.message ?? reply?.error ?? reply?.message;
  throw new Error(said ?? `The server answered with status ${response.status}.`);
}

/** Run work that makes requests, and show the error if it fails. */
async function attempt(work) {
  clear();
  const own = asking = new AbortController();
  try {
    await work();
  } catch (error) {
    if (own.signal.aborted) return;
    const gone = error instanceof TypeError && !navigator.onLine || error.message === "Failed to fetch";
    at("status").textContent = "";
    at("error").textContent = gone ? "The server does not answer." : error.message;
  }
}

async function showAnswer() {
  if (!model()) await showModels();
  at("status").textContent = "Asking …";
  const began = performance.now(), given = values();
  const reply = await ask(view.path, requestBody());
  const took = performance.now() - began;
  const [said, ...elements] = await view.draw(reply, given, model());
  at("status").replaceChildren(said, " ", make("small", { class: "faint" }, `${took.toFixed(0)} ms`));
  at("answer").replaceChildren(...elements);
}

async function showModels() {
  const info = await ask("info");
  for (const one of info.models) models.set(one.name, one);
  at("model").replaceChildren(...[...models.keys()].map((name) => make("option", {}, name)));
  at("code").hidden = false;
  showViews();
}

// ---- the same request as code

/** A body of strings, numbers, lists and objects as a Python literal. */
function python(value) {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${python(one)}`).join(", ")}}`;
}

function showCode() {
  const url = new URL(view.path, document.baseURI).href, body = requestBody();
  const open = at("key-form").hidden;  // otherwise a key is needed; the code reads it from the environment
  const header = open ? "" : ` -H "Authorization: Bearer $BERTIE_API_KEY"`;
  const shell = `curl ${url}${header} -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
  const headers = open ? "" : `, headers={"Authorization": "Bearer " + os.environ["BERTIE_API_KEY"]}`;
  const script = `import os, requests; print(requests.post("${url}", json=${python(body)}${headers}).json())`;
  at("code").replaceChildren(at("code").firstElementChild, copyable("curl", shell), copyable("Python", script));
}

function copyable(name, text) {
  const code = make("code", { tabindex: 0, role: "region", "aria-label": name }, text);
  const button = make("button", { type: "button", class: "quiet", "aria-label": `Copy the ${name} code` }, "Copy");
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(code);  // for browsers without clipboard access on pages without TLS
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected";
    }
  });
  return make("div", { class: "copyable" }, make("span", {}, name), button, make("pre", {}, code));
}

at("form").addEventListener("submit", (event) => { event.preventDefault(); attempt(showAnswer); });
at("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
at("key-form").addEventListener("submit", (event) => { event.preventDefault(); attempt(showModels); });
at("model").addEventListener("change", showViews);
attempt(showModels);
