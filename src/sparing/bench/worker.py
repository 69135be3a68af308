"""The program of a child process: `python -m sparing.bench.worker`, one engine, one model."""

import sys
from collections.abc import Mapping
from typing import Any

from sparing.bench.runner import Runner, own_stdout, serve


def _sparing(request: Mapping[str, Any]) -> Runner:
    from sparing.bench import run_sparing

    return run_sparing.make(request)


def _llamacpp(request: Mapping[str, Any]) -> Runner:
    from sparing.bench import run_llamacpp

    return run_llamacpp.make(request)


def _openvino(request: Mapping[str, Any]) -> Runner:
    from sparing.bench import run_openvino

    return run_openvino.make(request)


def _onnx(request: Mapping[str, Any]) -> Runner:
    from sparing.bench import run_onnx

    return run_onnx.make(request)


def _transformers(request: Mapping[str, Any]) -> Runner:
    from sparing.bench import run_transformers

    return run_transformers.make(request)


ENGINES = {
    "sparing": _sparing,
    "llama.cpp": _llamacpp,
    "openvino": _openvino,
    "onnxruntime-genai": _onnx,
    "transformers": _transformers,
}

if __name__ == "__main__":
    serve(ENGINES, sys.stdin, own_stdout())
