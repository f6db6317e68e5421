"""What stands beside a model that is one file: its labels, and a page of lines that ask it, with its shapes.

`model.onnx.labels.json` and `model.onnx.README.md` belong to `model.onnx`. Every export rewrites them, and replaces no
file of another's making.
"""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switch_tf import files
from switch_tf.artifacts.base import describe
from switch_tf.export.marked_files import MARK, foreign_file, is_marked, refuse_foreign_files
from switch_tf.runs.rejection import Rejection

if TYPE_CHECKING:
    from switch_tf.models.text_classifier import TextClassifier

TEXT = "A warm, funny and beautifully acted film."  # no quote in it, for strings of any language
_LABELS_SHOWN = 20
_TYPES = {"float": "float32"}  # ONNX has a name of its own


@dataclass(frozen=True)
class _Caller:
    """What the lines of a page depend on."""

    file: str  # name
    door: str  # text, bytes or ids
    batch: int | None  # None is any
    width: int  # bytes or ids in a row
    ids: list[int]  # of TEXT, without the padding behind them

    @property
    def texts(self) -> str:
        """A list of as many texts as the file takes, as Python writes it."""
        return f'["{TEXT}"' + (f', *[""] * {self.batch - 1}]' if self.batch and self.batch > 1 else "]")


def page_path(artifact: Path) -> Path:
    """model.onnx.README.md beside model.onnx."""
    return artifact.with_name(f"{artifact.name}.README.md")


def labels_path(artifact: Path) -> Path:
    """model.onnx.labels.json beside model.onnx."""
    return artifact.with_name(f"{artifact.name}.labels.json")


def refuse_foreign_page(artifact: Path) -> None:
    """
    Raises:
        RunError: a file that `write_caller_page` would replace is not of its making. Labels, which can bear no mark,
            are ours where the page beside them is.
    """
    page, labels = page_path(artifact), labels_path(artifact)
    refuse_foreign_files([page])
    if labels.exists() and not (page.exists() and is_marked(page)):
        raise foreign_file(labels)


def write_caller_page(artifact: Path, model: "TextClassifier", described: Mapping[str, Any]) -> None:
    """Write the labels of an artifact and the page about it.

    Args:
        model: what the artifact was made of.
        described: inputs and outputs as the manifest has them, of the file or of each of its signatures.

    Raises:
        RunError: one of them cannot be written.
    """
    for path in (page_path(artifact), labels_path(artifact)):
        files.remove_parts(path.parent, path.name)  # of an export that was killed
    files.write_text(page_path(artifact), caller_page(artifact.name, model, described))  # first: it bears the mark
    files.write_json(labels_path(artifact), model.label_list)


def caller_page(file: str, model: "TextClassifier", described: Mapping[str, Any]) -> str:
    """The page as Markdown; arguments as above, `file` the artifact's name."""
    signatures = described.get("signatures") or {"": described}
    ((door, taken),) = next(iter(signatures.values()))["inputs"].items()
    batch, *width = taken["shape"]
    (ids,) = model.tokenize([TEXT])["ids"].numpy().tolist()  # [length]
    caller = _Caller(
        file=file.encode(errors="replace").decode(),  # a name may hold bytes that are no UTF-8
        door=door,
        batch=batch if isinstance(batch, int) else None,
        width=width[0] if width else 0,
        ids=ids[: 1 + max((place for place, each in enumerate(ids) if each), default=-1)],
    )
    sections = _LINES[Path(file).suffix](caller)
    head = _head(caller, model.labels, signatures, model.rejection)
    return "\n".join([head, *sections, _tail(caller, model)])


def _onnx(caller: _Caller) -> list[str]:
    python = {"text": _ONNX_TEXT, "bytes": _ONNX_BYTES, "ids": _ONNX_IDS}[caller.door]
    sections = [_filled(python, caller)]
    if caller.door == "text":
        sections.append(_filled(_ONNX_NODE, caller))
    return sections


def _tflite(caller: _Caller) -> list[str]:
    sections = [_filled(_TFLITE_PYTHON, caller)]
    if caller.batch == 1:
        sections.append(_filled(_TFLITE_BROWSER, caller))
    return sections


_LINES = {".onnx": _onnx, ".tflite": _tflite}  # by the suffix of a format's files


def _filled(template: str, caller: _Caller) -> str:
    rest = f', ...new Array({caller.batch - 1}).fill("")' if caller.batch and caller.batch > 1 else ""
    return template.format(
        file=_quoted(caller.file),
        labels=_quoted(labels_path(Path(caller.file)).name),
        text=_quoted(TEXT),
        texts=caller.texts,
        rest=rest,
        batch=caller.batch or 1,
        width=caller.width,
        ids=caller.ids,
        count=len(caller.ids),
    )


def _head(caller: _Caller, labels: list[str], signatures: Mapping[str, Any], rejection: Rejection | None) -> str:
    def listed(tensors: Mapping[str, Any]) -> str:
        return ", ".join(
            f"`{name}`: {_TYPES.get(each['type'], each['type'])} [{', '.join(map(str, each['shape']))}]"
            for name, each in tensors.items()
        )

    rows = [
        f"| {name or 'the only one'} | {listed(each['inputs'])} | {listed(each['outputs'])} |"
        for name, each in signatures.items()
    ]
    answered = _ANSWERED.format(
        label="a string" if caller.door == "text" else "an index into the labels",
        count=len(labels),
        file=labels_path(Path(caller.file)).name,
        excerpt="" if len(labels) <= _LABELS_SHOWN else f" (here the first {_LABELS_SHOWN})",
    )
    batch = "any number of texts from 1 on" if caller.batch is None else f"exactly {caller.batch}"
    return _HEAD.format(
        title=" ".join(caller.file.split()),
        mark=MARK,
        rows="\n".join(rows),
        taken=_wrapped(_TAKEN.format(batch=batch, door=_DOORS[caller.door].format(width=caller.width))),
        answered=_wrapped(answered) + _rejecting(rejection, len(labels)),
        labels=json.dumps(labels[:_LABELS_SHOWN], ensure_ascii=False),
    )


def _rejecting(rejection: Rejection | None, classes: int) -> str:
    """A paragraph on the reject label, where there is one."""
    if rejection is None:
        return ""
    label, threshold = json.dumps(rejection.label, ensure_ascii=False), f"{rejection.threshold:.4f}"
    return "\n\n" + _wrapped(_REJECTING.format(label=label, threshold=threshold, index=classes))


def _tail(caller: _Caller, model: "TextClassifier") -> str:
    (probabilities,) = model.probabilities([TEXT])  # [classes]
    answer = describe(probabilities, model.labels, rejection=model.rejection)
    label, score = json.dumps(answer["label"], ensure_ascii=False), f"{answer['score']:.4f}"
    said = _wrapped(_TAIL.format(text=TEXT, label=label, score=score, file=caller.file))
    return f"## What to expect\n\n{said}\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _quoted(text: str) -> str:
    """As a literal of Python and of JavaScript."""
    return json.dumps(text, ensure_ascii=False)


_DOORS = {
    "text": "`text` takes strings of any length; a NUL means the same as a space.",
    "bytes": "`bytes` takes the UTF-8 of a text with zeros behind it, {width} bytes in all: of a longer text the first "
    "{width}, even if that cuts a letter. A NUL means the same as a space.",
    "ids": "`ids` takes {width} token ids a text, with 0 behind them. `tokenize` makes them of texts: a signature of "
    "the run's SavedModel, and a method of the run in Python.",
}

_HEAD = """# {title}

{mark}

| signature | inputs | outputs |
|---|---|---|
{rows}

{taken}

{answered}

```json
{labels}
```
"""

_TAKEN = "The batch is {batch}. {door}"
_ANSWERED = (
    "`label` is {label}; `probabilities` stand in the order of the {count} labels, which `{file}` holds{excerpt}:"
)

_REJECTING = (
    "A text that fits no class is answered {label}: its `label` is that, as an index {index}, one behind the classes, "
    "where no probability reaches {threshold}. It is the last of the labels in the file, and has no probability."
)

_ONNX_TEXT = """## Python

After `pip install numpy onnxruntime`:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file}, providers=["CPUExecutionProvider"])
texts = np.array({texts}, dtype=object)  # objects: str, not bytes
label, probabilities = session.run(["label", "probabilities"], {{"text": texts}})
print(label[0], probabilities[0])
```
"""

_ONNX_NODE = """## JavaScript

After `npm install onnxruntime-node` (in a page `onnxruntime-web`, which is asked the same):

```js
import * as ort from "onnxruntime-node";

const session = await ort.InferenceSession.create({file});
const texts = [{text}{rest}].map((text) => text.replaceAll("\\0", " "));
const {{ label, probabilities }} = await session.run({{ text: new ort.Tensor("string", texts, [texts.length]) }});
console.log(label.data[0], probabilities.data); // the probabilities of all texts, one after the other
```

JavaScript's runtimes cut a string at NUL, which is why a space is put there.
"""

_ONNX_BYTES = """## Python

After `pip install numpy onnxruntime`:

```python
import json
from pathlib import Path

import numpy as np
import onnxruntime

labels = json.loads(Path({labels}).read_text(encoding="utf-8"))
session = onnxruntime.InferenceSession({file}, providers=["CPUExecutionProvider"])
texts = {texts}
rows = np.array([[text.encode()] for text in texts], "S{width}").view(np.uint8)  # cut, zeros behind
label, probabilities = session.run(["label", "probabilities"], {{"bytes": rows}})
print(labels[label[0]], probabilities[0])
```
"""

_ONNX_IDS = """## Python

After `pip install numpy onnxruntime`; on a GPU `onnxruntime-gpu` and `CUDAExecutionProvider`:

```python
import json
from pathlib import Path

import numpy as np
import onnxruntime

labels = json.loads(Path({labels}).read_text(encoding="utf-8"))
session = onnxruntime.InferenceSession({file}, providers=["CPUExecutionProvider"])
ids = np.zeros([{batch}, {width}], np.int32)
ids[0, :{count}] = {ids}  # {text}
label, probabilities = session.run(["label", "probabilities"], {{"ids": ids}})
print(labels[label[0]], probabilities[0])
```
"""

_TFLITE_PYTHON = """## Python

After `pip install numpy ai-edge-litert`:

```python
import json
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

labels = json.loads(Path({labels}).read_text(encoding="utf-8"))
model = Interpreter({file}).get_signature_runner("bytes")
texts = {texts}
rows = np.array([[text.encode()] for text in texts], "S{width}").view(np.uint8)  # cut, zeros behind
answer = model(bytes=rows)
print(labels[answer["label"][0]], answer["probabilities"][0])
```
"""

_TFLITE_BROWSER = """## JavaScript

In a page, after `npm install @litertjs/core`, with the package's folder `wasm` published beside the page:

```js
import {{ loadAndCompile, loadLiteRt, Tensor }} from "@litertjs/core";

await loadLiteRt("./wasm/");
const labels = await (await fetch({labels})).json();
const model = await loadAndCompile({file}, {{ accelerator: "wasm" }});
const row = new Uint8Array({width}); // zeros
row.set(new TextEncoder().encode({text}).subarray(0, {width}));
const bytes = new Tensor(row, [1, {width}]);
const answer = await model.run({{ bytes }});
console.log(labels[(await answer.label.data())[0]], await answer.probabilities.data());
for (const tensor of [bytes, ...Object.values(answer)]) tensor.delete();
```
"""

_TAIL = (
    'To "{text}" the trained model answers {label} with {score}. In float32 this file gives the same within 1e-5; one '
    "stored in int8 or float16 may differ by more. `{file}.manifest.json` says how it compared on some hundred texts."
)
