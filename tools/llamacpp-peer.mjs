// What llama.cpp makes of a GGUF file, by way of the npm package node-llama-cpp, which brings
// prebuilt libraries. For tools/compare-llamacpp; docs/export.md says how it is installed.
//
//   node llamacpp-peer.mjs DIR tokens MODEL.gguf TEXT_FILE             ids, one a line; special
//                                                                      tokens in the text are found
//   node llamacpp-peer.mjs DIR perplexity MODEL.gguf TEXT_FILE T       as llama-perplexity -c T
//   node llamacpp-peer.mjs DIR generate MODEL.gguf PROMPT_FILE N       N greedy ids, one a line, then
//                                                                      the text as a JSON string
//
// DIR is where `npm install --prefix DIR node-llama-cpp` was run.
import {createRequire} from "node:module";
import {readFileSync} from "node:fs";
import path from "node:path";
import {pathToFileURL} from "node:url";

const [dir, command, modelPath, textPath, number] = process.argv.slice(2);
const require = createRequire(path.resolve(dir, "package.json"));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve("node-llama-cpp")));

const llama = await getLlama({gpu: false, maxThreads: 1, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath});
let text = readFileSync(textPath, "utf8");
const bos = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
const encode = (t, special = false) => [...bos, ...model.tokenize(t, special)];

async function sequenceOf(length) {
  const context = await model.createContext({contextSize: length, batchSize: length, threads: 1, flashAttention: false});
  return context.getSequence();
}
const greedy = {temperature: 0};
// Waits until it is written: to a pipe it is not at once, and exit() would cut it off.
const print = (line) => new Promise((done) => process.stdout.write(line + "\n", done));

if (command === "tokens") {
  await print(encode(text, true).join("\n"));
} else if (command === "perplexity") {
  const T = Number(number);
  if (text.endsWith("\n")) text = text.slice(0, -1);
  const ids = encode(text);
  const first = Math.floor(T / 2), windows = Math.floor(ids.length / T);
  if (ids.length < 2 * T) throw new Error(`expected ${2 * T} tokens, found ${ids.length}`);
  const sequence = await sequenceOf(T);
  let nll = 0, scored = 0;
  for (let w = 0; w < windows; ++w) {
    const window = ids.slice(w * T, (w + 1) * T);
    if (bos.length > 0) window[0] = bos[0];
    await sequence.clearHistory();
    // Of all logits only the target's, the largest, and the sum of exp(logit - largest): a map of
    // all takes JavaScript longer than the model.
    const outputs = await sequence.controlledEvaluate(window.map((id, i) => {
      if (i < first || i === T - 1) return id;
      const logits = {filter: {tokens: [window[i + 1]], includeTop: 1}};
      return [id, {generateNext: {logits, totalLogitWeight: true, options: greedy}}];
    }));
    for (let i = first; i < T - 1; ++i) {
      const {logits, totalLogitWeight} = outputs[i].next;
      nll += Math.log(totalLogitWeight) + Math.max(...logits.values()) - logits.get(window[i + 1]);
      ++scored;
    }
  }
  const result = {perplexity: Math.exp(nll / scored), nll: nll / scored, tokens: scored, windows};
  await print(JSON.stringify(result, null, 2));
} else if (command === "generate") {
  const ids = encode(text), N = Number(number), out = [];
  const sequence = await sequenceOf(ids.length + N);
  for await (const id of sequence.evaluate(ids, {...greedy, yieldEogToken: true})) {
    out.push(id);
    if (out.length === N) break;
  }
  await print(out.join("\n"));
  await print(JSON.stringify(model.detokenize(out)));
} else {
  throw new Error(`no such command: ${command}`);
}
process.exit(0);
