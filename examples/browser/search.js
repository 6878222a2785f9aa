// Embeds texts with a graph from `bertie export onnx`, pooling included, and ranks notes by cosine.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { Tokenizer } from "./node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs";

const GRAPH = "model/onnx/model_quantized.onnx";
const [notes, question, answers, state] = ["notes", "question", "answers", "state"].map((id) => document.getElementById(id));

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} was not found: see README.md`);
  return response;
}

async function load() {
  const files = ["model/tokenizer.json", "model/tokenizer_config.json"];
  const [rules, config] = await Promise.all(files.map(async (path) => (await fetched(path)).json()));
  const graph = await (await fetched(GRAPH)).arrayBuffer();
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  return { tokenizer: new Tokenizer(rules, config), session, limit: config.model_max_length };
}

// texts → vectors [texts, D], as one flat array
async function embed({ tokenizer, session, limit }, texts) {
  const rows = texts.map((text) => {
    const { ids } = tokenizer.encode(text);
    return ids.length > limit ? [...ids.slice(0, limit - 1), ids.at(-1)] : ids; // keep the final [SEP]
  });
  const length = Math.max(...rows.map((row) => row.length));
  const shape = [rows.length, length];
  const padded = (value) => BigInt64Array.from(rows.flatMap((row) => Array.from({ length }, (_, at) => BigInt(value(row, at)))));
  const given = {
    input_ids: padded((row, at) => row[at] ?? 0),
    attention_mask: padded((row, at) => (at < row.length ? 1 : 0)),
    token_type_ids: padded(() => 0),
  };
  const inputs = session.inputNames.map((name) => [name, new ort.Tensor("int64", given[name], shape)]);
  const { sentence_embedding: vectors } = await session.run(Object.fromEntries(inputs), ["sentence_embedding"]);
  return vectors;
}

async function search(model) {
  const lines = notes.value.split("\n").filter((line) => line.trim());
  const { data, dims } = await embed(model, [question.value, ...lines]);
  const row = (number) => data.subarray(number * dims[1], (number + 1) * dims[1]);
  const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
  const cosine = (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const ranked = lines.map((line, number) => [cosine(row(0), row(number + 1)), line]).sort(([a], [b]) => b - a);
  answers.replaceChildren(
    ...ranked.map(([score, line]) => {
      const item = document.createElement("li");
      const figure = document.createElement("span");
      figure.textContent = score.toFixed(2);
      item.append(line, figure);
      return item;
    }),
  );
}

try {
  const begun = performance.now();
  const model = await load();
  const loaded = performance.now();
  let running = Promise.resolve(); // one search at a time
  const answer = () => (running = running.then(() => search(model)));
  await answer();
  const answered = performance.now();
  state.textContent = `Loaded in ${Math.round(loaded - begun)} ms, first answer after ${Math.round(answered - loaded)} ms.`;
  state.dataset.answered = String(answered - loaded);
  for (const field of [notes, question]) field.addEventListener("change", answer);
} catch (error) {
  state.textContent = String(error.message ?? error);
  throw error;
}
