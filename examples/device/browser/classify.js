// Classifies texts with LiteRT.js, on the CPU.
import { getGlobalLiteRtPromise, loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

/**
 * A function from a text to its label and the probability of each label.
 *
 * `modelUrl` is a file exported with `--batch 1`, `labelsUrl` its labels.json, `runtimeUrl` the folder of LiteRT's wasm
 * files, with a slash at the end. Throws if one of them cannot be had.
 */
export async function loadClassifier(modelUrl, labelsUrl, runtimeUrl) {
  const [model, labels] = await Promise.all([
    fetched(modelUrl).then(async (response) => new Uint8Array(await response.arrayBuffer())),
    fetched(labelsUrl).then((response) => response.json()),
    getGlobalLiteRtPromise() ?? loadLiteRt(runtimeUrl), // once in a page
  ]);
  const compiled = await loadAndCompile(model, { accelerator: "wasm" });
  const [batch, byteLength] = compiled.getInputDetails()[0].shape; // of the first signature, which is `bytes`
  if (batch !== 1) throw new Error(`${modelUrl} has another batch than 1. Export it with --batch 1.`);

  return async function classify(text) {
    const row = new Uint8Array(byteLength); // zeros
    // Not encodeInto, which would leave out a letter that is cut in the middle.
    row.set(new TextEncoder().encode(text).subarray(0, byteLength));
    const bytes = new Tensor(row, [1, byteLength]);
    try {
      const answer = await compiled.run({ bytes });
      const [label] = await answer.label.data();
      const probabilities = Array.from(await answer.probabilities.data());
      // Tensors live in the memory of wasm, which JavaScript does not clear.
      for (const tensor of Object.values(answer)) tensor.delete();
      return { label: labels[label], probabilities };
    } finally {
      bytes.delete();
    }
  };
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} cannot be fetched: ${response.status} ${response.statusText}`);
  return response;
}
