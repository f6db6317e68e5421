// The part that is the same in Node and in a browser: `ort` is the runtime's module, `model` a path or a URL.

/** One answer for each question, from one session; a question names its inputs, each as [type, data, dims]. */
export async function answerAll(ort, model, questions) {
  const session = await ort.InferenceSession.create(model);
  const answers = [];
  for (const question of questions) answers.push(await answer(ort, session, question));
  return answers;
}

/** Labels and probabilities, or the error that was thrown. */
async function answer(ort, session, question) {
  try {
    const inputs = Object.entries(question).map(([name, arguments_]) => [name, new ort.Tensor(...arguments_)]);
    const { label, probabilities } = await session.run(Object.fromEntries(inputs));
    return { labels: label.data, probabilities: Array.from(probabilities.data), dims: probabilities.dims };
  } catch (error) {
    return { error: error.message };
  }
}
