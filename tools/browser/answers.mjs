// The part that is the same in Node and in a page: rows of bytes to ids and probabilities, each one behind the other.

/** By ONNX Runtime, `ort`: of model.onnx, in batches, and of its front-end alone, front-end.onnx. */
export async function byOnnxRuntime(ort, place, { bytes, width, batch }) {
  const [model, frontEnd] = [await ort.InferenceSession.create(place("model.onnx")),
    await ort.InferenceSession.create(place("front-end.onnx"))];
  const answers = { ids: [], probabilities: [] };
  for (let start = 0; start < bytes.length; start += batch * width) {
    const rows = bytes.slice(start, start + batch * width);
    const feeds = { bytes: new ort.Tensor("uint8", rows, [rows.length / width, width]) };
    answers.ids.push(...(await frontEnd.run(feeds)).ids.data);
    answers.probabilities.push(...(await model.run(feeds)).probabilities.data);
  }
  return answers;
}

/** By LiteRT.js, whose `compiled` model takes one row at a time. */
export async function byLiteRt(Tensor, compiled, { bytes, width }) {
  const answers = { ids: [], probabilities: [] };
  for (let start = 0; start < bytes.length; start += width) {
    const row = new Tensor(bytes.slice(start, start + width), [1, width]);
    const [tokens, answer] = [await compiled.run("tokenize", { bytes: row }), await compiled.run({ bytes: row })];
    answers.ids.push(...(await tokens.ids.data()));
    answers.probabilities.push(...(await answer.probabilities.data()));
    for (const tensor of [row, ...Object.values(tokens), ...Object.values(answer)]) tensor.delete();
  }
  return answers;
}
