"""Which of ONNX Runtime's execution providers answers, the CPU's or CUDA's, and why it is not the other."""

import ctypes
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, get_args

from switch_tf.errors import ArgumentError, ModelError

Provider = Literal["auto", "cpu", "cuda"]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# Products in full float32: with TF32 a router's near-tie may go the other way, and probabilities are off by over 1e-5.
_ON_CUDA: list[Any] = [(CUDA, {"use_tf32": "0"}), CPU]
_FATAL = 4  # of ONNX Runtime's log levels
_WARNINGS = 2  # its default


def wants_cuda(provider: str, door: str, available: Sequence[str]) -> bool:
    """Whether CUDA is to answer a model that takes `door`, where the installed build has the `available` providers.

    "auto" is CUDA for a file that takes ids if the build offers it, and the CPU for all others: strings run there
    whatever there is, and so do many operators on bytes.

    >>> wants_cuda("auto", "ids", [CUDA, CPU]), wants_cuda("auto", "text", [CUDA, CPU])
    (True, False)

    Raises:
        ArgumentError: there is no such provider, or the build has none for CUDA.
    """
    check_provider(provider)
    if provider == "cuda" and CUDA not in available:
        raise ArgumentError(
            f"Received the provider cuda, and the installed ONNX Runtime has {', '.join(available)}. {_remedy()}",
            argument="provider",
        )
    return provider == "cuda" or (provider == "auto" and door == "ids" and CUDA in available)


def check_provider(provider: str) -> None:
    """
    Raises:
        ArgumentError: there is no such provider.
    """
    if provider not in get_args(Provider):
        expected = ", ".join(get_args(Provider))
        raise ArgumentError(f"Received provider={provider!r}. Expected one of {expected}.", argument="provider")


def open_on_cuda(content: str | bytes, options: Any) -> Any:
    """A session of a model, as a path or its content, on the GPU; what CUDA has no kernel for runs on the CPU.

    Raises:
        ModelError: CUDA's provider does not load, or fails on the model; the message says why.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL)  # the reason is in our message
    try:
        with redirect_stdout(io.StringIO()):  # it prints which libraries it did not find
            onnxruntime.preload_dlls()
        # Without its own fallback, which goes on without a word, or with one on stdout.
        session = onnxruntime.InferenceSession(content, options, providers=_ON_CUDA, enable_fallback=0)
    except Exception as error:  # its exceptions share no narrower base
        raise ModelError(f"{_NOT_USED}: {str(error).rstrip(' .')}. {_NEEDED}") from error
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)
    if session.get_providers()[0] != CUDA:
        raise ModelError(f"{_NOT_USED}: {_reason()}. {_NEEDED}")
    return session


_NOT_USED = "ONNX Runtime's CUDA provider cannot be used"
_NEEDED = "Expected an NVIDIA GPU with its driver, and the CUDA and cuDNN that this build of ONNX Runtime is made for."


def _reason() -> str:
    """What the system says when it loads the provider's library."""
    import onnxruntime

    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        for name in ("shared", "cuda"):
            ctypes.CDLL(str(folder / f"libonnxruntime_providers_{name}.so"), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return "it loads, but finds no GPU"


def _remedy() -> str:
    """How to come by a build with CUDA, with what is installed now."""
    if _is_installed("onnxruntime") and _is_installed("onnxruntime-gpu"):
        problem = "Both onnxruntime and onnxruntime-gpu are installed, and each overwrites files of the other"
        return f"{problem}: uninstall both, then install onnxruntime-gpu."
    return "Uninstall onnxruntime and install onnxruntime-gpu in its place, or take the provider cpu."


def _is_installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
