"""What of a wheel no board needs.

The rule: what is left out is either of a kind that no running program opens (tests, headers, stubs, static
libraries), or stands in `CUTS` with the reason. That what is left still imports and computes is tested for each lock.
"""

from __future__ import annotations

import re

_FOLDERS = frozenset(["__pycache__", "include", "test", "tests"])
_SUFFIXES = (
    ".a", ".c", ".cc", ".cpp", ".cu", ".cuh", ".f", ".f90", ".h", ".hpp", ".lib", ".o", ".pc", ".pxd", ".pyc", ".pyi",
    ".pyx", ".rst",
)  # fmt: skip
_KEPT_OF_DIST_INFO = re.compile(r"METADATA\Z|(licenses/|LICEN[CS]E|COPYING|NOTICE)", re.IGNORECASE)

CUTS = {
    "ai-edge-litert": (
        "ai_edge_litert/aot/", "ai_edge_litert/tools/", "ai_edge_litert/tflite/",  # compilers and converters
        "ai_edge_litert/vendors/",  # plug-ins for NPUs whose own libraries are not there
        "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
        "ai_edge_litert/libLiteRt.so",  # the other programming interface; the interpreter is not linked with it
        "ai_edge_litert/schema_py_generated.py",
    ),
    "cffi": ("cffi/",),  # cryptography uses the compiled backend alone
    "numpy": (
        "numpy/distutils/", "numpy/doc/", "numpy/f2py/", "numpy/testing/", "numpy/_pyinstaller/",
        "numpy/_core/lib/", "numpy/core/lib/",
        "numpy/_core/_multiarray_tests.", "numpy/_core/_operand_flag_tests.", "numpy/_core/_rational_tests.",
        "numpy/_core/_simd.", "numpy/_core/_struct_ufunc_tests.", "numpy/_core/_umath_tests.",  # not NumPy 1's
    ),
    "onnxruntime": (
        "onnxruntime/backend/", "onnxruntime/datasets/", "onnxruntime/quantization/", "onnxruntime/tools/",
        "onnxruntime/transformers/",
        "onnxruntime/capi/libonnxruntime.so",  # for programs in C; Python's module has its own copy
    ),
    "pillow": (
        # colour profiles, text, drawing, windows, and formats beside JPEG and PNG; `_imaging` itself is linked with
        # libtiff, libopenjp2 and libxcb, which therefore stay
        "PIL/_avif.", "PIL/_imagingcms.", "PIL/_imagingft.", "PIL/_imagingmath.", "PIL/_imagingmorph.",
        "PIL/_imagingtk.", "PIL/_webp.", "PIL/ImageCms.", "PIL/ImageDraw", "PIL/ImageFont.", "PIL/ImageText.",
        "PIL/PdfParser.", "pillow.libs/libavif-", "pillow.libs/libbrotli", "pillow.libs/libfreetype-",
        "pillow.libs/libharfbuzz-", "pillow.libs/liblcms2-", "pillow.libs/libpng16-", "pillow.libs/libsharpyuv-",
        "pillow.libs/libwebp",
    ),
}  # fmt: skip
"""Beginnings of paths that are left out of a distribution, and why."""


def installed_path(entry: str, distribution: str | None) -> str | None:
    """Where an entry of a wheel goes in the layer, or None when it is left out.

    Args:
        entry: path in the wheel.
        distribution: normalised name of what the wheel holds; None for a wheel of the user's own, of which nothing
            is left out but what no program opens.
    """
    folder, _, rest = entry.partition("/")
    if folder.endswith(".dist-info"):
        return entry if _KEPT_OF_DIST_INFO.match(rest) else None
    if folder.endswith(".data"):
        kind, _, path = rest.partition("/")
        if kind not in ("platlib", "purelib"):
            return None
        entry = path
    parts = entry.split("/")
    if _FOLDERS.intersection(parts[:-1]) or parts[-1].endswith(_SUFFIXES):
        return None
    cuts = CUTS.get(distribution, ()) if distribution else ()
    return None if entry.startswith(cuts) else entry
